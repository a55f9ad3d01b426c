//! Route 2 with group commit: a batch is one insert_many, then one call of the script in Redis.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use courseload_peers::batch::{Failures, Store, StoreError};
use courseload_peers::counters::Counters;
use courseload_peers::course::Note;
use courseload_peers::notes::{self, Stored};
use courseload_peers::web;
use mongodb::Collection;
use mongodb::bson::{doc, oid::ObjectId};

const GRACE: Duration = Duration::from_millis(50);

struct Stores {
    notes: Collection<Stored>,
    counters: Counters,
}

impl Store for Stores {
    /// Stores a batch and counts those of its notes that were not counted before.
    ///
    /// Every attempt has a name of its own, which is in its documents and which Redis remembers. So a document that is
    /// stored already tells whether its note was counted.
    async fn put(&self, notes: &[Note]) -> Result<Failures> {
        let name = self.counters.next_batch();
        let known = notes::insert(&self.notes, notes, "direct", Some(&name)).await?;
        let mut failures = Failures::new();
        let mut to_count = Vec::with_capacity(notes.len());
        let mut earlier: HashMap<&str, HashMap<ObjectId, &Note>> = HashMap::new(); // by the batch they are in
        for (index, note) in notes.iter().enumerate() {
            match known.get(&index) {
                None => to_count.push(note),
                Some(stored) if !stored.is(note) => {
                    failures.insert(index, StoreError::Conflict);
                }
                // Without a batch route 1 has stored it; with this one it is twice in here.
                Some(stored) => match &stored.batch {
                    Some(batch) if *batch != name => {
                        earlier.entry(batch).or_default().insert(note.id, note);
                    }
                    _ => {}
                },
            }
        }
        to_count.extend(self.take_over(earlier, &name).await?);
        self.counters.count(&name, &to_count).await?;
        Ok(failures)
    }

    async fn ready(&self) -> Result<()> {
        notes::ready(self.notes.client()).await?;
        self.counters.ping().await
    }
}

impl Stores {
    /// Moves notes that were stored but not counted into a batch, and returns them. The batches they were in are burnt
    /// before: Redis will never count them, however late they come.
    async fn take_over<'a>(
        &self,
        earlier: HashMap<&str, HashMap<ObjectId, &'a Note>>,
        name: &str,
    ) -> Result<Vec<&'a Note>> {
        if earlier.is_empty() {
            return Ok(Vec::new());
        }
        let mut uncounted = self.counters.uncounted(earlier.keys().copied().collect()).await?;
        if uncounted.is_empty() {
            return Ok(Vec::new());
        }
        tokio::time::sleep(GRACE).await; // it may be on its way
        uncounted = self.counters.burn(uncounted).await?;
        let mut taken = Vec::new();
        for owner in uncounted {
            let notes = &earlier[owner];
            let ids: Vec<_> = notes.keys().collect();
            let moved = self
                .notes
                .update_many(
                    doc! {"_id": {"$in": ids}, "batch": owner},
                    doc! {"$set": {"batch": name}},
                )
                .await?;
            ensure!(
                moved.matched_count == notes.len() as u64,
                "somebody else has taken the same notes over"
            );
            taken.extend(notes.values());
        }
        Ok(taken)
    }
}

#[actix_web::main]
async fn main() -> Result<()> {
    let stores = Stores {
        notes: notes::collection().await?,
        counters: Counters::connect()?,
    };
    Ok(web::serve("direct", 8020, stores).await?)
}
