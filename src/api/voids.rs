//! Voids: receipts that are taken back, each by an entry of its own.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::form::{Because, Reason};
use super::page::{Body, Path};
use super::problem::Problem;
use super::requests::{self, Request};
use crate::store::corrections::VOIDS_MAX;
use crate::store::requests::Ask;

/// Which receipts are taken back, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidReceipts {
    /// Their ids: 1 to 5,000.
    #[schema(example = json!(["rcpt-7f3a", "rcpt-7f3b"]), min_items = 1, max_items = 5000)]
    receipts: Vec<String>,
    /// Why; kept with each entry.
    #[schema(value_type = String, example = "a load test ran against production", min_length = 1,
        max_length = 1000)]
    because: Reason,
}

/// Takes receipts of a brand back, all or none: it is refused if one was never counted or is voided already.
/// One that is delivered again stays a duplicate.
#[utoipa::path(post, path = "/v1/brands/{brand}/receipts/void", tag = "receipts",
    params(("brand" = String, Path, description = "Whose receipts they are", example = "brand-acme")),
    request_body = VoidReceipts,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn void_all(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
    Body(VoidReceipts { receipts, because }): Body<VoidReceipts>,
) -> Result<Response, Problem> {
    if !(1..=VOIDS_MAX).contains(&receipts.len()) {
        return Err(Problem::body(format!("receipts has 1 to {VOIDS_MAX} ids")));
    }
    void(&api, &caller, &brand, receipts, because).await
}

/// Takes a receipt of a brand back. One that is delivered again stays a duplicate.
#[utoipa::path(post, path = "/v1/brands/{brand}/receipts/{receipt_id}/void", tag = "receipts",
    params(("brand" = String, Path, description = "Whose receipt it is", example = "brand-acme"),
        ("receipt_id" = String, Path, description = "Its id", example = "rcpt-7f3a")),
    request_body = Because,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn void_one(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, receipt_id)): Path<(String, String)>,
    Body(Because { because }): Body<Because>,
) -> Result<Response, Problem> {
    if receipt_id.contains('\0') {
        return Err(Problem::not_found("such receipt"));
    }
    void(&api, &caller, &brand, vec![receipt_id], because).await
}

async fn void(
    api: &Api,
    caller: &Caller,
    brand: &str,
    receipts: Vec<String>,
    because: Reason,
) -> Result<Response, Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?.id.as_str().to_owned();
    drop(snapshot);
    let ask = Ask::VoidReceipts { brand, receipts, because: because.0 };
    requests::carry_out(api, caller, ask).await
}
