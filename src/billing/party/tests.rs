use super::*;

fn buyer(values: &[(Field, &str)]) -> Result<Party, Vec<Fault>> {
    Party::new(Role::Buyer, values.iter().map(|(field, text)| (*field, (*text).to_owned())))
}

fn issuer(values: &[(Field, &str)]) -> Result<Party, Vec<Fault>> {
    Party::new(Role::Issuer, values.iter().map(|(field, text)| (*field, (*text).to_owned())))
}

fn names(missing: &[&[Field]]) -> Vec<String> {
    let name = |any: &&[Field]| any.iter().map(|one| one.as_str()).collect::<Vec<_>>().join("|");
    missing.iter().map(name).collect()
}

#[test]
fn each_field_has_its_form() {
    use Field::*;
    let table: &[(Field, &str, Option<&str>)] = &[
        (LegalName, "Acme Textiles GmbH & Co. KG", None),
        (LegalName, "", Some("text_form")),
        (LegalName, "  ", Some("text_form")),
        (City, "Köln\nDeutz", Some("text_form")),
        (City, "Köln\u{202e}Deutz", Some("text_not_plain")),
        (ContactName, "a\u{200b}", Some("text_not_plain")),
        (LegalName, "\u{5e9}\u{5dc}", None),
        (Country, "DE", None),
        (Country, "GR", None),
        (Country, "de", Some("country_unknown")),
        (Country, "UK", Some("country_unknown")),
        (Country, "DEU", Some("country_unknown")),
        (VatId, "DE 123 456 789", None),
        (VatId, "el123456789", None),
        (VatId, "XI123456789", None),
        (VatId, "123456789", Some("vat_prefix")),
        (VatId, "D", Some("vat_prefix")),
        (VatId, "ÄÖ123", Some("vat_prefix")),
        (VatId, "DE1", Some("vat_form")),
        (VatId, "DE12345678901234", Some("vat_form")),
        (VatId, "DE12.3", Some("vat_form")),
        (ContactEmail, "billing@acme.example", None),
        (ContactEmail, "billing@acme", Some("email_form")),
        (ContactEmail, "a b@acme.example", Some("email_form")),
        (ContactEmail, "a@b@acme.example", Some("email_form")),
        (TermsDays, "0", None),
        (TermsDays, "365", None),
        (TermsDays, "366", Some("terms_range")),
        (TermsDays, "+14", Some("terms_range")),
        (TermsDays, "two weeks", Some("terms_range")),
    ];
    for (field, text, expected) in table {
        let found = buyer(&[(*field, text)]).err().map(|faults| faults[0].why.name());
        assert_eq!(found, *expected, "{field:?} {text:?}");
    }
    assert!(buyer(&[(LegalName, &"x".repeat(CHARS_MAX))]).is_ok());
    assert!(buyer(&[(LegalName, &"x".repeat(CHARS_MAX + 1))]).is_err());
}

#[test]
fn an_account_number_has_check_digits() {
    // The examples of the registry of ISO 13616.
    for good in ["DE89 3704 0044 0532 0130 00", "gb82west12345698765432", "NO9386011117947"] {
        assert!(issuer(&[(Field::Iban, good)]).is_ok(), "{good}");
    }
    let why = |text| issuer(&[(Field::Iban, text)]).unwrap_err()[0].why;
    assert_eq!(why("DE89370400440532013001"), Why::IbanChecksum);
    assert_eq!(why("DE88370400440532013000"), Why::IbanChecksum);
    for wrong in ["DE89", "89DE370400440532013000", "XX89370400440532013000", "DE8937040044053201é"]
    {
        assert_eq!(why(wrong), Why::IbanForm, "{wrong}");
    }
    assert_eq!(issuer(&[(Field::Bic, "COBADEFF")]).unwrap().get(Field::Bic), Some("COBADEFF"));
    assert_eq!(issuer(&[(Field::Bic, "COBADEF")]).unwrap_err()[0].why, Why::BicForm);
}

#[test]
fn an_electronic_address_has_a_scheme() {
    let both = [(Field::ElectronicScheme, "0088"), (Field::ElectronicAddress, "4012345000009")];
    assert!(buyer(&both).is_ok());
    assert!(buyer(&[(Field::ElectronicScheme, "EM"), both[1]]).is_ok());
    for alone in [&both[..1], &both[1..]] {
        assert_eq!(buyer(alone).unwrap_err()[0].why, Why::SchemeAlone);
    }
    for scheme in ["88", "00880", "GLN"] {
        let why = buyer(&[(Field::ElectronicScheme, scheme), both[1]]).unwrap_err()[0].why;
        assert_eq!(why, Why::SchemeForm, "{scheme}");
    }
}

#[test]
fn all_faults_are_told_at_once_and_a_field_has_its_role() {
    let faults =
        buyer(&[(Field::Iban, "DE89370400440532013000"), (Field::Country, "XX")]).unwrap_err();
    let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(
        told,
        [
            "country is no country code of ISO 3166-1 (two capital letters, such as DE)",
            "iban belongs to the other party",
        ]
    );
    assert_eq!(issuer(&[(Field::TermsDays, "14")]).unwrap_err()[0].why.name(), "other_role");
}

#[test]
fn what_an_invoice_still_needs_is_listed() {
    let address = [
        (Field::LegalName, "Acme"),
        (Field::Street, "Ring 1"),
        (Field::City, "Köln"),
        (Field::Postcode, "50667"),
        (Field::Country, "DE"),
        (Field::ElectronicScheme, "EM"),
        (Field::ElectronicAddress, "invoices@acme.example"),
        (Field::RegistrationId, "HRB 1"),
    ];
    assert_eq!(
        names(&buyer(&[]).unwrap().missing(None)),
        [
            "legal_name",
            "street",
            "city",
            "postcode",
            "country",
            "electronic_address",
            "vat_id|registration_id",
            "buyer_reference|purchase_order",
            "terms_days",
        ]
    );
    let complete = [&address[..], &[(Field::PurchaseOrder, "4711"), (Field::TermsDays, "14")]];
    let complete = buyer(&complete.concat()).unwrap();
    assert_eq!(complete.terms_days(), Some(14));
    assert!(complete.missing(Some(Category::Standard)).is_empty());
    assert_eq!(names(&complete.missing(Some(Category::ReverseCharge))), ["vat_id"]);
    let seller = issuer(&address).unwrap();
    let contact = ["contact_name", "contact_email", "contact_phone", "iban"];
    assert_eq!(names(&seller.missing(Some(Category::OutOfScope))), contact);
    let with_vat_id = [&["vat_id"][..], &contact].concat();
    assert_eq!(names(&seller.missing(Some(Category::Standard))), with_vat_id);
}

#[test]
fn fields_and_countries_are_found_by_their_names() {
    for field in Field::ALL {
        assert_eq!(Field::from_name(field.as_str()), Some(field));
        assert!(field.belongs_to(Role::Buyer) || field.belongs_to(Role::Issuer));
    }
    assert!(form::COUNTRIES.is_sorted());
    assert!(form::COUNTRIES.iter().all(|code| form::is_country(code)));
}

/// What was stored before a rule came stays readable, whatever people may write now.
#[test]
fn a_stored_party_is_taken_as_it_is() {
    let odd = [(Field::LegalName, "Acme\u{200b}".to_owned())];
    let why = Party::new(Role::Buyer, odd.clone()).unwrap_err()[0].to_string();
    assert_eq!(why, "legal_name has U+200B, which cannot be seen or turns the text around");
    let stored = Party::stored(Role::Buyer, odd).unwrap();
    assert_eq!(stored.get(Field::LegalName), Some("Acme\u{200b}"));
    assert!(Party::stored(Role::Buyer, [(Field::Country, "XX".to_owned())]).is_err());
}
