//! Groups what arrives while a write is on its way: it goes together as the next one (group commit).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::course::Note;

const SIZE: usize = 512; // notes in a write, at most
const QUEUE: usize = 4096; // notes that wait, at most
const WRITES_AT_ONCE: usize = 2; // while one batch is in the database, the next can be on its way
const DEADLINE: Duration = Duration::from_millis(1500); // a write is tried again for so long
const PAUSE: Duration = Duration::from_millis(50);

/// Why a note was not stored.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    #[error("another note is stored under this Idempotency-Key")]
    Conflict,
    #[error("{0}")]
    Unavailable(String),
}

/// Why notes of a batch were not stored, by their index in it.
pub type Failures = HashMap<usize, StoreError>;

/// Where batches go.
pub trait Store: Send + Sync + 'static {
    /// Stores notes. It is an error if the outcome of any is unknown: then the same notes come again.
    fn put(&self, notes: &[Note]) -> impl Future<Output = anyhow::Result<Failures>> + Send;

    /// It is an error if something keeps notes from being stored.
    fn ready(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Stores notes in groups.
pub struct Writer {
    waiting: mpsc::Sender<Entry>,
}

struct Entry {
    note: Note,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Writer {
    /// Starts a writer on the current runtime.
    pub fn start<S: Store>(store: Arc<S>) -> Self {
        let (waiting, entries) = mpsc::channel(QUEUE);
        tokio::spawn(run(store, entries));
        Self { waiting }
    }

    /// Returns once the note is stored, or with the reason why it is not.
    pub async fn store(&self, note: Note) -> Result<(), StoreError> {
        let (done, outcome) = oneshot::channel();
        if self.waiting.try_send(Entry { note, done }).is_err() {
            return Err(StoreError::Unavailable(
                "too many notes are waiting for the database".into(),
            ));
        }
        outcome
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the write was given up".into())))
    }
}

async fn run<S: Store>(store: Arc<S>, mut waiting: mpsc::Receiver<Entry>) {
    let writes = Arc::new(Semaphore::new(WRITES_AT_ONCE));
    loop {
        let write = writes
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let mut entries = Vec::with_capacity(SIZE);
        if waiting.recv_many(&mut entries, SIZE).await == 0 {
            return; // nobody is left who could send one
        }
        let store = store.clone();
        tokio::spawn(async move {
            put(&*store, entries).await;
            drop(write);
        });
    }
}

/// Stores a batch and tells each of its notes how that went.
async fn put<S: Store>(store: &S, entries: Vec<Entry>) {
    let (notes, done): (Vec<_>, Vec<_>) = entries.into_iter().map(|entry| (entry.note, entry.done)).unzip();
    let outcome = attempt(store, &notes).await;
    for (index, done) in done.into_iter().enumerate() {
        let told = match &outcome {
            Ok(failures) => failures.get(&index).map_or(Ok(()), |error| Err(error.clone())),
            Err(error) => Err(error.clone()),
        };
        let _ = done.send(told); // whoever asked may have hung up
    }
}

async fn attempt<S: Store>(store: &S, notes: &[Note]) -> Result<Failures, StoreError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let error = match timeout_at(deadline, store.put(notes)).await {
            Ok(Ok(failures)) => return Ok(failures),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database did not answer in time".into(),
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(StoreError::Unavailable(error));
        }
        sleep(PAUSE).await;
    }
}
