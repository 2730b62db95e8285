//! CSV (RFC 4180) as the API and the command line write it, for spreadsheets too.

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Came from outside, or may have: a spreadsheet must not run it.
    Text(String),
    /// Ours, and never a formula: a number, a day, a time, a word of a closed list, or nothing.
    Plain(String),
}

impl Field {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As it is written; empty if there is nothing.
    pub fn plain(value: impl ToString) -> Self {
        Self::Plain(value.to_string())
    }

    /// A text that may be missing.
    pub fn text_or_none(text: Option<&str>) -> Self {
        Self::text(text.unwrap_or_default())
    }

    /// A value that may be missing.
    pub fn plain_or_none(value: Option<impl ToString>) -> Self {
        value.map_or_else(|| Self::Plain(String::new()), Self::plain)
    }

    /// What is written. A spreadsheet takes a text that begins like a formula for one, so such a text is led by
    /// an apostrophe, a number with a sign too: of a text it would be computed. Our own numbers stay numbers.
    fn written(self) -> String {
        match self {
            Self::Text(text) if begins_like_a_formula(&text) => format!("'{text}"),
            Self::Text(text) | Self::Plain(text) => text,
        }
    }
}

/// The wide forms are what some spreadsheets take for the same.
fn begins_like_a_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

/// A row, with its end.
pub fn row(fields: impl IntoIterator<Item = Field>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let written = writer.write_record(fields.into_iter().map(Field::written));
    // Writing to memory cannot fail.
    written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default()
}

/// The first row: the columns' names.
pub fn head<'a>(columns: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    row(columns.into_iter().map(Field::plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(field: Field) -> String {
        String::from_utf8(row([field, Field::plain("end")])).unwrap()
    }

    #[test]
    fn a_text_that_begins_like_a_formula_is_a_text() {
        for text in ["=1+1", "+1", "-1e5", "-5.00", "-cmd", "@x", "\tx", "＝1", "－1", "+49 30 1"]
        {
            assert_eq!(written(Field::text(text)), format!("'{text},end\r\n"), "{text:?}");
        }
        assert_eq!(written(Field::text("\r=1")), "\"'\r=1\",end\r\n");
        assert_eq!(written(Field::text("\n=1")), "\"'\n=1\",end\r\n");
        for text in ["", "shirt", "1-2", "a=b", "5.00"] {
            assert_eq!(written(Field::text(text)), format!("{text},end\r\n"), "{text:?}");
        }
        assert_eq!(written(Field::text("a,b")), "\"a,b\",end\r\n");
    }

    #[test]
    fn a_number_of_ours_stays_one() {
        for number in ["-5.00", "0", "12"] {
            assert_eq!(written(Field::plain(number)), format!("{number},end\r\n"));
        }
        assert_eq!(written(Field::plain_or_none(None::<i64>)), ",end\r\n");
    }
}
