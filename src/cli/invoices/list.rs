//! `invoices list|show` and `credit-notes list|show`.

use billing::document::Document;
use chrono::NaiveDate;
use clap::Args;

use crate::cli::output::{Cell, Listing, Output};
use crate::cli::preview::day;
use crate::cli::{Problem, brands};
use crate::store::documents::{self, Filter, Listed};
use crate::store::{Store, drafts as kept};

#[derive(Debug, Args)]
pub struct List {
    /// Only this brand's
    #[arg(long)]
    brand: Option<String>,
    /// Only those that stand, voided ones or cancelled ones; `draft` lists drafts instead
    #[arg(long, value_parser = ["draft", "finalized", "voided", "cancelled"])]
    state: Option<String>,
    /// Only invoices of the period with this day, or of this month as YYYY-MM
    #[arg(long, value_parser = day)]
    period: Option<NaiveDate>,
    /// At most so many
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Its number
    number: String,
    /// Print the document itself: its canonical JSON, byte for byte
    #[arg(long)]
    raw: bool,
}

impl List {
    pub async fn run(
        self,
        store: &Store,
        credit_notes: Option<bool>,
        output: Output,
    ) -> anyhow::Result<()> {
        let brand_no = match &self.brand {
            Some(brand) => Some(brands::known(store, brand).await?.no),
            None => None,
        };
        if self.state.as_deref() == Some("draft") {
            return drafts(store, brand_no, credit_notes, output).await;
        }
        let filter = Filter {
            brand_no,
            state: self.state,
            credit_notes,
            day: self.period,
            limit: self.limit,
            ..Filter::default()
        };
        let mut listing = Listing::new([
            "number",
            "brand",
            "kind",
            "state",
            "period",
            "issue_date",
            "due_date",
            "currency",
            "net",
            "tax",
            "total",
            "credited",
            "paid",
            "due",
            "payment",
            "delivered",
        ]);
        for listed in documents::list(&store.pool, &filter).await? {
            listing.row(row(&listed)?);
        }
        listing.print(output)
    }
}

fn row(listed: &Listed) -> anyhow::Result<Vec<Cell>> {
    let balance = listed.balance()?;
    let decimal = |amount: &dyn std::fmt::Display| Cell::Decimal(amount.to_string());
    let has_balance = listed.has_balance();
    let owed = |cell: Cell| if has_balance { cell } else { Cell::Nothing };
    Ok(vec![
        listed.name().into(),
        listed.brand_id.as_str().into(),
        listed.kind.as_str().into(),
        listed.state.as_str().into(),
        listed.period_start.into(),
        listed.issue_date.into(),
        listed.due_date.into(),
        listed.currency.as_str().into(),
        decimal(&listed.net_total),
        decimal(&listed.tax_total),
        decimal(&listed.total),
        owed(decimal(&balance.credited.amount())),
        owed(decimal(&balance.paid.amount())),
        owed(decimal(&balance.due.amount())),
        owed(balance.state.as_str().into()),
        listed.is_delivered.into(),
    ])
}

async fn drafts(
    store: &Store,
    brand_no: Option<i32>,
    credit_notes: Option<bool>,
    output: Output,
) -> anyhow::Result<()> {
    let mut listing = Listing::new([
        "brand",
        "period",
        "kind",
        "currency",
        "net",
        "total",
        "etag",
        "computed_at",
    ]);
    for draft in kept::list(&store.pool, brand_no).await? {
        if credit_notes.is_some_and(|wanted| wanted != (draft.kind == "credit_note")) {
            continue;
        }
        let etag: String = draft.etag.iter().map(|byte| format!("{byte:02x}")).collect();
        listing.row([
            draft.brand_id.into(),
            draft.period_start.into(),
            draft.kind.into(),
            draft.currency.into(),
            Cell::Decimal(draft.net_total.to_string()),
            Cell::Decimal(draft.total.to_string()),
            etag.into(),
            draft.computed_at.into(),
        ]);
    }
    listing.print(output)
}

impl Show {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        use std::io::Write as _;
        let listed = super::known(store, &self.number).await?;
        let body = documents::body(&store.pool, listed.document_no).await?;
        if self.raw {
            crate::cli::output::stdout().write_all(&body)?;
            return Ok(());
        }
        let document = documents::read(&body)?;
        if output == Output::Json {
            return json(store, &listed, &document).await;
        }
        lines(&document).print(output)?;
        let state = &listed.state;
        eprintln!("{} of {}, {}: {state}", listed.name(), document.issue_date, listed.brand_id);
        eprintln!(
            "net {} + tax {} = {} {}",
            document.net_total, document.tax_total, document.total, document.currency
        );
        if listed.has_balance() {
            let balance = listed.balance()?;
            eprintln!("{}: {} is due", balance.state.as_str(), balance.due);
        }
        for over in &document.overrides {
            eprintln!("overridden: {} by {}: {}", over.reason, over.by, over.because);
        }
        for event in documents::events(&store.pool, listed.document_no, None, i64::MAX).await? {
            let because = event.because.map(|because| format!(": {because}")).unwrap_or_default();
            let at = event.made_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            eprintln!("{at} {} by {}{because}", event.kind, event.made_by);
        }
        Ok(())
    }
}

fn lines(document: &Document) -> Listing {
    let mut listing = Listing::new([
        "line",
        "period",
        "key",
        "label",
        "quantity",
        "unit_price",
        "amount",
        "tax",
        "billed_before",
        "credits",
    ]);
    for line in &document.lines {
        let before = line.adjustment.as_ref().map(|one| one.billed_amount.to_string());
        listing.row([
            i64::from(line.line).into(),
            line.period.into(),
            line.key.map(|key| key.to_string()).into(),
            line.label.as_str().into(),
            line.quantity.into(),
            line.unit_price.map_or(Cell::Nothing, |price| Cell::Decimal(price.to_string())),
            Cell::Decimal(line.amount.to_string()),
            format!("{} {} %", line.tax_category.code(), line.tax_rate_percent).into(),
            before.map_or(Cell::Nothing, Cell::Decimal),
            line.credits.as_ref().map(|to| format!("{} line {}", to.number, to.line)).into(),
        ]);
    }
    listing
}

async fn json(store: &Store, listed: &Listed, document: &Document) -> anyhow::Result<()> {
    let balance = listed.balance()?;
    let events = documents::events(&store.pool, listed.document_no, None, i64::MAX).await?;
    let events = events.iter().map(|event| {
        serde_json::json!({"kind": event.kind, "because": event.because, "at": event.made_at,
            "by": event.made_by})
    });
    let value = serde_json::json!({
        "name": listed.name(),
        "state": listed.state,
        "hash": document.hash().map_err(|error| Problem::Mismatch(error.to_string()))?.to_string(),
        "finalized_at": listed.finalized_at,
        "finalized_by": listed.finalized_by,
        "payment": balance.state.as_str(),
        "credited": balance.credited.amount().to_string(),
        "paid": balance.paid.amount().to_string(),
        "due": balance.due.amount().to_string(),
        "events": events.collect::<Vec<_>>(),
        "document": document,
    });
    crate::cli::output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?))?;
    Ok(())
}
