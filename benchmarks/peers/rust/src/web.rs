//! The HTTP side: takes notes, checks them, and answers once they are stored.

use std::sync::Arc;

use actix_web::error::JsonPayloadError;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{Data, Json, JsonConfig, resource};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use serde_json::json;
use thiserror::Error;

use crate::batch::{Store, StoreError, Writer};
use crate::course::{Fields, Note, Object, id_of};

const MAX_BODY: usize = 16 << 10;

/// Why a request is refused.
#[derive(Debug, Error)]
enum Refusal {
    #[error(transparent)]
    Body(#[from] JsonPayloadError),
    #[error("{0} must have 1 to 128 characters, and not only white space")]
    Text(&'static str),
    #[error("Idempotency-Key must be 1 to 128 visible ASCII characters")]
    Key,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    NotReady(anyhow::Error),
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Body(JsonPayloadError::ContentType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(error) => error.status_code(),
            Self::Text(_) | Self::Key => StatusCode::BAD_REQUEST,
            Self::Store(StoreError::Conflict) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Store(StoreError::Unavailable(_)) | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if self.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        response.json(json!({"error": self.to_string()}))
    }
}

struct Route<S> {
    name: &'static str,
    store: Arc<S>,
    writer: Writer,
}

/// Answers `POST /course` on a port with 201 once the store has the note, and tells what is wrong otherwise: 400, 413 or
/// 415 for a bad request, 422 for another note under the same key, 503 for a note that could not be stored.
pub async fn serve<S: Store>(name: &'static str, port: u16, store: S) -> std::io::Result<()> {
    let store = Arc::new(store);
    let writer = Writer::start(store.clone());
    let route = Data::new(Route { name, store, writer });
    HttpServer::new(move || {
        App::new()
            .app_data(route.clone())
            .app_data(
                JsonConfig::default()
                    .limit(MAX_BODY)
                    .error_handler(|error, _| Refusal::from(error).into()),
            )
            .service(resource("/readyz").get(ready::<S>))
            .service(
                resource("/course")
                    .wrap(DefaultHeaders::new().add(("X-Route", name)))
                    .post(course::<S>),
            )
    })
    .bind(("0.0.0.0", port))?
    .run()
    .await
}

async fn ready<S: Store>(route: Data<Route<S>>) -> Result<HttpResponse, Refusal> {
    route.store.ready().await.map_err(Refusal::NotReady)?;
    Ok(HttpResponse::Ok().json(json!({"status": "ok"})))
}

async fn course<S: Store>(
    route: Data<Route<S>>,
    request: HttpRequest,
    body: Json<Object<Fields>>,
) -> Result<HttpResponse, Refusal> {
    let Object(fields) = body.into_inner();
    if let Some(name) = fields.bad() {
        return Err(Refusal::Text(name));
    }
    let id = id_of(request.headers().get_all("Idempotency-Key")).ok_or(Refusal::Key)?;
    route.writer.store(Note { id, fields }).await?;
    Ok(HttpResponse::Created().json(json!({"id": id.to_hex(), "route": route.name})))
}
