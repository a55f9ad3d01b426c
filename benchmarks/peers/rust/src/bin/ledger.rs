//! The storing half of route 1 with group commit: each gRPC call is one insert_many.

use std::time::Duration;

use courseload_peers::batch::StoreError;
use courseload_peers::course::{Fields, Note};
use courseload_peers::ledgerpb::failure::Reason;
use courseload_peers::ledgerpb::ledger_server::{Ledger, LedgerServer};
use courseload_peers::ledgerpb::{Course, Failure, PutCoursesRequest, PutCoursesResponse};
use courseload_peers::notes::{self, Stored};
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

struct Notes(Collection<Stored>);

#[tonic::async_trait]
impl Ledger for Notes {
    /// Stores a batch and answers once MongoDB has acknowledged it.
    async fn put_courses(&self, request: Request<PutCoursesRequest>) -> Result<Response<PutCoursesResponse>, Status> {
        let notes = request
            .into_inner()
            .courses
            .into_iter()
            .map(note)
            .collect::<Result<Vec<_>, _>>()?;
        let known = notes::insert(&self.0, &notes, "relay", None)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let others = known.into_iter().filter(|(index, stored)| !stored.is(&notes[*index]));
        let failures = others.map(|(index, _)| Failure {
            index: index as u32,
            reason: Reason::Conflict.into(),
            message: StoreError::Conflict.to_string(),
        });
        Ok(Response::new(PutCoursesResponse {
            failures: failures.collect(),
        }))
    }
}

fn note(sent: Course) -> Result<Note, Status> {
    let id = sent
        .id
        .try_into()
        .map_err(|_| Status::invalid_argument("an id must have 12 bytes"))?;
    let Course {
        curso,
        facultad,
        carrera,
        region,
        ..
    } = sent;
    Ok(Note {
        id: ObjectId::from_bytes(id),
        fields: Fields {
            curso,
            facultad,
            carrera,
            region,
        },
    })
}

/// Says whether MongoDB answers, which it asks every second.
async fn report(health: HealthReporter, collection: Collection<Stored>) {
    loop {
        let status = match notes::ready(collection.client()).await {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        health.set_service_status("", status).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let collection = notes::collection().await?;
    let (reporter, health) = health_reporter();
    tokio::spawn(report(reporter, collection.clone()));
    let ledger = LedgerServer::new(Notes(collection));
    Ok(Server::builder()
        .add_service(health)
        .add_service(ledger)
        .serve(([0, 0, 0, 0], 8010).into())
        .await?)
}
