//! The HTTP half of route 1 with group commit: a batch is one gRPC call to ledger.

use std::env;

use anyhow::{Context, Result, ensure};
use courseload_peers::batch::{Failures, Store, StoreError};
use courseload_peers::course::Note;
use courseload_peers::ledgerpb::failure::Reason;
use courseload_peers::ledgerpb::ledger_client::LedgerClient;
use courseload_peers::ledgerpb::{Course, PutCoursesRequest};
use courseload_peers::web;
use tonic::transport::{Channel, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

struct Ledger {
    courses: LedgerClient<Channel>,
    health: HealthClient<Channel>,
}

impl Ledger {
    /// Uses LEDGER_ADDRESS. Connects when the ledger is first needed.
    fn connect() -> Result<Self> {
        let address = env::var("LEDGER_ADDRESS").context("LEDGER_ADDRESS")?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
        Ok(Self {
            courses: LedgerClient::new(channel.clone()),
            health: HealthClient::new(channel),
        })
    }
}

impl Store for Ledger {
    async fn put(&self, notes: &[Note]) -> Result<Failures> {
        let courses = notes.iter().map(course).collect();
        let answer = self
            .courses
            .clone()
            .put_courses(PutCoursesRequest { courses })
            .await?
            .into_inner();
        let failures = answer.failures.into_iter().map(|failure| {
            let error = match failure.reason() {
                Reason::Conflict => StoreError::Conflict,
                _ => StoreError::Unavailable(failure.message),
            };
            (failure.index as usize, error)
        });
        Ok(failures.collect())
    }

    async fn ready(&self) -> Result<()> {
        let answer = self
            .health
            .clone()
            .check(HealthCheckRequest::default())
            .await?
            .into_inner();
        ensure!(
            answer.status == ServingStatus::Serving as i32,
            "the ledger is not ready"
        );
        Ok(())
    }
}

fn course(note: &Note) -> Course {
    let fields = note.fields.clone();
    Course {
        id: note.id.bytes().to_vec(),
        curso: fields.curso,
        facultad: fields.facultad,
        carrera: fields.carrera,
        region: fields.region,
    }
}

#[actix_web::main]
async fn main() -> Result<()> {
    Ok(web::serve("relay", 8000, Ledger::connect()?).await?)
}
