//! The OpenAPI document: made of the handlers, and completed by what all operations have in common, so that
//! no handler repeats it.

use serde_json::json;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref, RefOr, Response,
    ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{self, Access, Brand};
use super::problem::{Fault, Kind, ProblemBody};
use super::{
    Api, activity, applying, assigning, assignments, brands, conflicts, gaps, invoices, issuer,
    keys, plans, pricing, profiles, pulse, receipts, rejections, reports, requests, usage, voids,
    waivers,
};
use super::{amend, behind, drafts, holds, payments, periods, preview, run};

const ABOUT: &str = "Usage, prices, invoices and their evidence. Amounts and quantities are strings; times are \
    RFC 3339 in UTC; ranges of days are half-open. Every answer that is not a success is a problem \
    (RFC 9457) whose type has a page.";

/// Every route of the API.
pub fn routes() -> OpenApiRouter<Api> {
    let about = InfoBuilder::new()
        .title("prooftally")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("MIT OR Apache-2.0")))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(about).build())
        .merge(service())
        .merge(brands_and_plans())
        .merge(counted())
        .merge(drafted())
        .merge(issued())
        .merge(reported())
}

/// The service itself, and who may use it.
fn service() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(pulse::livez))
        .routes(routes!(pulse::readyz))
        .routes(routes!(pulse::version))
        .routes(routes!(pulse::problems))
        .routes(routes!(pulse::problem))
        .routes(routes!(pulse::me))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(activity::list))
}

/// Who pays, by which prices, and who issues the documents.
fn brands_and_plans() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(brands::list))
        .routes(routes!(brands::get))
        .routes(routes!(brands::zone, brands::set_zone))
        .routes(routes!(brands::name, brands::set_name))
        .routes(routes!(brands::park))
        .routes(routes!(brands::unpark))
        .routes(routes!(profiles::profile, profiles::set_profile))
        .routes(routes!(profiles::taxes))
        .routes(routes!(profiles::set_tax))
        .routes(routes!(assignments::list, assigning::create))
        .routes(routes!(assigning::end))
        .routes(routes!(assigning::withdraw))
        .routes(routes!(waivers::coverage))
        .routes(routes!(waivers::list, waivers::create))
        .routes(routes!(waivers::withdraw))
        .routes(routes!(plans::list))
        .routes(routes!(plans::get))
        .routes(routes!(plans::version))
        .routes(routes!(applying::apply))
        .routes(routes!(applying::withdraw))
        .routes(routes!(pricing::test))
        .routes(routes!(pricing::unpriced))
        .routes(routes!(issuer::get))
}

/// What was counted, what was not, and what is asked of the engine about it.
fn counted() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(usage::query))
        .routes(routes!(receipts::get))
        .routes(routes!(receipts::proof))
        .routes(routes!(rejections::list))
        .routes(routes!(rejections::retry_all))
        .routes(routes!(rejections::dismiss_all))
        .routes(routes!(rejections::retry))
        .routes(routes!(rejections::dismiss))
        .routes(routes!(conflicts::list))
        .routes(routes!(conflicts::resolve_all))
        .routes(routes!(conflicts::dismiss_all))
        .routes(routes!(conflicts::resolve))
        .routes(routes!(conflicts::dismiss))
        .routes(routes!(gaps::list))
        .routes(routes!(gaps::accept_all))
        .routes(routes!(gaps::accept))
        .routes(routes!(voids::void_all))
        .routes(routes!(voids::void_one))
        .routes(routes!(requests::get))
}

/// Documents before they are issued.
fn drafted() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(periods::list))
        .routes(routes!(periods::get))
        .routes(routes!(preview::preview))
        .routes(routes!(drafts::get))
        .routes(routes!(drafts::refresh))
        .routes(routes!(drafts::finalize))
        .routes(routes!(drafts::override_reason))
        .routes(routes!(drafts::hold))
        .routes(routes!(holds::list))
        .routes(routes!(holds::hold))
        .routes(routes!(holds::release))
        .routes(routes!(run::due))
        .routes(routes!(run::finalize))
}

/// Documents that were issued, what is behind them, and what is done to them.
fn issued() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(invoices::list))
        .routes(routes!(invoices::get))
        .routes(routes!(invoices::document))
        .routes(routes!(behind::receipts))
        .routes(routes!(behind::line_receipts))
        .routes(routes!(invoices::events))
        .routes(routes!(invoices::verify))
        .routes(routes!(invoices::credit_notes))
        .routes(routes!(invoices::credit_note))
        .routes(routes!(amend::void))
        .routes(routes!(amend::cancel))
        .routes(routes!(amend::sent))
        .routes(routes!(amend::write_off))
        .routes(routes!(amend::credit))
        .routes(routes!(payments::list, payments::create))
}

/// Sums over all of them.
fn reported() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(reports::tax_summary))
        .routes(routes!(reports::unbilled::unbilled))
        .routes(routes!(reports::register::invoice_register))
        .routes(routes!(reports::ageing::ageing))
}

/// The operations of a path, with their methods.
pub fn operations_of(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Adds to each operation who may do it and every problem that it can answer with.
pub fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Problem".to_owned(), ProblemBody::schema());
    components.schemas.insert("ProblemFault".to_owned(), Fault::schema());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A key (`pt_…`), or a token of the identity provider that `api.oidc` names",
        ))
        .build();
    components.security_schemes.insert("bearer".to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    for (path, item) in &mut document.paths.paths {
        let methods = [
            ("GET", &mut item.get),
            ("POST", &mut item.post),
            ("PUT", &mut item.put),
            ("PATCH", &mut item.patch),
            ("DELETE", &mut item.delete),
        ];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                operation.operation_id = Some(operation_id(method, path));
                add_access(operation, method, path);
            }
        }
    }
    super::examples::add(&mut document);
    document
}

/// What generated clients call it, such as `get_brands_brand_taxes`: unique, as method and path are.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let words = path.split(['/', '{', '}']).filter(|word| !word.is_empty());
    words.fold(method.to_lowercase(), |id, word| format!("{id}_{word}"))
}

fn add_access(operation: &mut Operation, method: &str, path: &str) {
    let Some((access, brand)) = access::row(method, path) else { return };
    let roles: Vec<&str> = access.roles().iter().map(|role| role.as_str()).collect();
    let extensions = operation.extensions.get_or_insert_default();
    extensions.insert("x-roles".to_owned(), json!(roles));
    extensions.insert("x-brand-scoped".to_owned(), json!(brand == Brand::Own));
    let mut kinds = vec![Kind::InvalidQuery, Kind::Internal, Kind::Timeout];
    if access != Access::Public {
        operation.security = Some(vec![SecurityRequirement::new::<_, _, &str>("bearer", [])]);
        kinds.extend([
            Kind::Unauthenticated,
            Kind::Forbidden,
            Kind::TooManyRequests,
            Kind::Unavailable,
            Kind::Busy,
        ]);
    }
    // What is not there, or is not the caller's, is named by parameters too.
    let is_name = |one: &RefOr<Parameter>| match one {
        RefOr::T(one) => matches!(one.name.as_str(), "brand" | "plan"),
        RefOr::Ref(_) => false,
    };
    let names_one = operation.parameters.iter().flatten().any(is_name);
    if path.contains('{') || names_one {
        kinds.push(Kind::NotFound);
    }
    if matches!(method, "POST" | "PUT") {
        kinds.extend([
            Kind::InvalidHeader,
            Kind::BodyTooLarge,
            Kind::UnsupportedMediaType,
            Kind::InvalidBody,
            Kind::NotFound,
            Kind::Refused,
        ]);
    }
    if method == "POST" {
        kinds.extend([
            Kind::IdempotencyKeyInUse,
            Kind::IdempotencyAnswerNotKept,
            Kind::IdempotencyOutcomeUnknown,
            Kind::IdempotencyKeyReused,
        ]);
        add_idempotency_key(operation);
    }
    if method == "POST" && path.ends_with("/finalize") {
        kinds.extend([Kind::Blocked, Kind::ChangedMeanwhile, Kind::IfMatchRequired]);
    }
    if method == "PUT" {
        kinds.extend([Kind::IfMatchRequired, Kind::ChangedMeanwhile]);
        add_if_match(operation);
    }
    for kind in kinds {
        let status = kind.status().as_str().to_owned();
        let responses = &mut operation.responses.responses;
        let name = format!("`{}`", kind.name());
        match responses.get_mut(&status) {
            Some(RefOr::T(response)) if response.description.contains(&name) => {}
            Some(RefOr::T(response)) if response.description.starts_with('`') => {
                response.description = format!("{}, {name}", response.description);
            }
            Some(_) => {}
            None => {
                responses.insert(status, RefOr::T(problem(name)));
            }
        }
    }
}

/// An answer that is a problem of these types.
fn problem(names: String) -> Response {
    let body = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name(ProblemBody::name()))))
        .build();
    ResponseBuilder::new().description(names).content("application/problem+json", body).build()
}

fn add_idempotency_key(operation: &mut Operation) {
    use utoipa::openapi::path::ParameterBuilder;
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some("Names this request: sent again it is answered again, and done once"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).build()))
        .example(Some(json!("9c1d3f0e-payment-of-4-october")))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

fn add_if_match(operation: &mut Operation) {
    use utoipa::openapi::Required;
    use utoipa::openapi::path::ParameterBuilder;
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    let parameter = ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("The `ETag` that was read, so that nobody's change is lost"))
        .example(Some(json!("\"2\"")))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}
