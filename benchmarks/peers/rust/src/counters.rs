//! What Redis keeps of the notes: the latest ones, and counters by each field. The script that counts a batch, once, is
//! courseload's own (services/direct/apply.lua), so that Redis keeps and remembers the same.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Script, ScriptInvocation};
use serde::Serialize;
use serde_json::Value;

use crate::course::{Fields, Note};

// What the script is told to keep, as courseload tells it.
const LATEST: usize = 100;
const TEXTS: usize = 1000;
const PROCESSES: usize = 1000;
const EXCEPTIONS: usize = 10_000;

const PROCESS_DIGITS: usize = 16; // of a batch's name; the others are its number

const KEYS: [&str; 10] = [
    "notes:latest",
    "notes:count",
    "notes:count:curso",
    "notes:count:facultad",
    "notes:count:carrera",
    "notes:count:region",
    "notes:batches",
    "notes:batches:used",
    "notes:batches:except",
    "notes:batches:forgotten",
];

/// Counts batches of notes.
pub struct Counters {
    connection: ConnectionManager,
    script: Script,
    process: String,
    number: AtomicU64,
}

#[derive(Serialize)]
struct Latest<'a> {
    id: String,
    #[serde(flatten)]
    fields: &'a Fields,
}

impl Counters {
    /// Uses REDIS_URL, and the script in the file APPLY_LUA. Connects when Redis is first needed.
    pub fn connect() -> Result<Self> {
        let client = Client::open(env::var("REDIS_URL").context("REDIS_URL")?)?;
        let script = fs::read_to_string(env::var("APPLY_LUA").context("APPLY_LUA")?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, ConnectionManagerConfig::new())?,
            script: Script::new(&script),
            process: format!("{now:08x}{:08x}", rand::random::<u32>()),
            number: AtomicU64::new(1),
        })
    }

    /// It is an error if Redis does not answer.
    pub async fn ping(&self) -> Result<()> {
        Ok(redis::cmd("PING").exec_async(&mut self.connection.clone()).await?)
    }

    /// A name that no other batch has.
    pub fn next_batch(&self) -> String {
        format!("{}{:010x}", self.process, self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a batch, once. It is an error if the batch was burnt.
    pub async fn count(&self, batch: &str, notes: &[&Note]) -> Result<()> {
        let (process, number) = parts(batch)?;
        let mut counts: [HashMap<&str, u32>; 4] = Default::default();
        for note in notes {
            for (by_text, (_, text)) in counts.iter_mut().zip(note.fields.texts()) {
                *by_text.entry(text).or_default() += 1;
            }
        }
        let latest = notes[notes.len().saturating_sub(LATEST)..]
            .iter()
            .map(|note| {
                serde_json::to_string(&Latest {
                    id: note.id.to_hex(),
                    fields: &note.fields,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let packed = rmp_serde::to_vec(&(process, number, latest, notes.len(), counts))?;
        let counted: bool = self
            .script("count")
            .arg(LATEST)
            .arg(TEXTS)
            .arg(packed)
            .invoke_async(&mut self.connection.clone())
            .await?;
        ensure!(counted, "another batch has taken over the notes of {batch}");
        Ok(())
    }

    /// Those of the batches that were not counted (yet).
    pub async fn uncounted<'a>(&self, batches: Vec<&'a str>) -> Result<Vec<&'a str>> {
        self.without_counted("look", batches).await
    }

    /// Those of the batches that were not counted, and from now on never will be.
    pub async fn burn<'a>(&self, batches: Vec<&'a str>) -> Result<Vec<&'a str>> {
        self.without_counted("burn", batches).await
    }

    async fn without_counted<'a>(&self, operation: &str, batches: Vec<&'a str>) -> Result<Vec<&'a str>> {
        let mut asked = Vec::new();
        for batch in &batches {
            let (process, number) = parts(batch)?;
            asked.extend([Value::from(process), Value::from(number)]);
        }
        let packed = rmp_serde::to_vec(&asked)?;
        let counted: Vec<bool> = self
            .script(operation)
            .arg(packed)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(batches
            .into_iter()
            .zip(counted)
            .filter(|(_, counted)| !counted)
            .map(|(batch, _)| batch)
            .collect())
    }

    fn script(&self, operation: &str) -> ScriptInvocation<'_> {
        let mut invocation = self.script.key(&KEYS);
        invocation.arg(PROCESSES).arg(EXCEPTIONS).arg(operation);
        invocation
    }
}

/// The process and the number in a batch's name.
fn parts(batch: &str) -> Result<(&str, u64)> {
    let (process, number) = batch
        .split_at_checked(PROCESS_DIGITS)
        .with_context(|| format!("{batch:?} is no batch"))?;
    Ok((process, u64::from_str_radix(number, 16)?))
}
