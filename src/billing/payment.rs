//! What is still to be paid of an invoice. Payments and credits are rows beside it; the state is
//! derived and never stored.
#![deny(clippy::arithmetic_side_effects)]

use crate::money::{self, Money};

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was paid and something is due.
    Unpaid,
    PartlyPaid,
    /// Nothing is due: it was paid, credited, or both.
    Paid,
    /// Something is due and is no longer expected.
    WrittenOff,
}

impl State {
    /// The name in the API, exports and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unpaid => "unpaid",
            State::PartlyPaid => "partly_paid",
            State::Paid => "paid",
            State::WrittenOff => "written_off",
        }
    }
}

/// An invoice's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    pub state: State,
    pub total: Money,
    pub credited: Money,
    pub paid: Money,
    /// Total - credited - paid; below zero if too much was paid, which is owed to the buyer.
    pub due: Money,
}

/// The balance of an invoice of `total`, of which `credits` (totals of its credit notes) were
/// given back and `payments` received; a refund is a negative payment.
///
/// # Errors
/// If a currency differs or a sum does not fit.
pub fn balance(
    total: Money,
    credits: &[Money],
    payments: &[Money],
    written_off: bool,
) -> Result<Balance, money::Error> {
    let credited = money::sum(total.currency(), credits.iter().copied())?;
    let paid = money::sum(total.currency(), payments.iter().copied())?;
    let due = total.minus(credited)?.minus(paid)?;
    let state = if due.is_zero() || due.is_negative() {
        State::Paid
    } else if written_off {
        State::WrittenOff
    } else if paid.is_zero() || paid.is_negative() {
        State::Unpaid
    } else {
        State::PartlyPaid
    };
    Ok(Balance { state, total, credited, paid, due })
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::currency::Currency;

    fn eur(amount: &str) -> Money {
        Money::new(Decimal::from_str_exact(amount).unwrap(), Currency::EUR).unwrap()
    }

    fn all(amounts: &[&str]) -> Vec<Money> {
        amounts.iter().copied().map(eur).collect()
    }

    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], bool, &'a str, &'a str);

    #[test]
    fn due_is_total_less_credited_less_paid() {
        let table: [Case<'_>; 13] = [
            // total, credits, payments, written off, state, due
            ("119.00", &[], &[], false, "unpaid", "119.00"),
            ("119.00", &[], &["0.01"], false, "partly_paid", "118.99"),
            ("119.00", &[], &["100.00", "18.99"], false, "partly_paid", "0.01"),
            ("119.00", &[], &["100.00", "19.00"], false, "paid", "0.00"),
            ("119.00", &[], &["120.00"], false, "paid", "-1.00"),
            ("119.00", &["11.90"], &[], false, "unpaid", "107.10"),
            ("119.00", &["11.90", "107.10"], &[], false, "paid", "0.00"),
            ("119.00", &["11.90"], &["119.00"], false, "paid", "-11.90"),
            ("119.00", &[], &["119.00", "-119.00"], false, "unpaid", "119.00"),
            ("119.00", &[], &["-1.00"], false, "unpaid", "120.00"),
            ("119.00", &[], &["19.00"], true, "written_off", "100.00"),
            ("119.00", &[], &["119.00"], true, "paid", "0.00"),
            ("0.00", &[], &[], false, "paid", "0.00"),
        ];
        for (total, credits, payments, written_off, state, due) in table {
            let balance = balance(eur(total), &all(credits), &all(payments), written_off).unwrap();
            assert_eq!((balance.state.as_str(), balance.due), (state, eur(due)), "{balance:?}");
            let parts = balance.credited.plus(balance.paid).unwrap().plus(balance.due).unwrap();
            assert_eq!(parts, balance.total);
        }
    }

    #[test]
    fn currencies_are_not_mixed() {
        let yen = Money::zero(Currency::from_code("JPY").unwrap());
        assert!(balance(eur("1.00"), &[yen], &[], false).is_err());
        assert!(balance(eur("1.00"), &[], &[yen], false).is_err());
    }
}
