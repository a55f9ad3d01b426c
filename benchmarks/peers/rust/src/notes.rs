//! The collection that the notes are stored in.

use std::collections::HashMap;
use std::env;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use mongodb::bson::{DateTime, doc, oid::ObjectId};
use mongodb::error::{ErrorKind, InsertManyError};
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::{Client, Collection};
use serde::{Deserialize, Serialize};

use crate::course::{Fields, Note};

const DUPLICATE_KEY: i32 = 11000;

/// What is looked at of a stored note.
#[derive(Clone, Debug, Deserialize)]
pub struct Stored {
    #[serde(rename = "_id")]
    id: ObjectId,
    curso: String,
    facultad: String,
    carrera: String,
    region: String,
    pub batch: Option<String>,
}

impl Stored {
    /// Whether it is the note that was to be stored.
    pub fn is(&self, note: &Note) -> bool {
        let texts = [&self.curso, &self.facultad, &self.carrera, &self.region];
        texts.into_iter().eq(note.fields.texts().map(|(_, text)| text))
    }
}

/// A note that is accepted now, with the same fields as courseload's own documents.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(flatten)]
    fields: &'a Fields,
    route: &'a str,
    at: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a str>,
}

/// Connects to MONGODB_URI with the driver's default pool, and returns "notes" in MONGODB_DATABASE.
pub async fn collection() -> Result<Collection<Stored>> {
    let mut options = ClientOptions::parse(env::var("MONGODB_URI").context("MONGODB_URI")?).await?;
    options.server_selection_timeout = Some(Duration::from_secs(1));
    options.write_concern = Some(WriteConcern::majority());
    let database = env::var("MONGODB_DATABASE").context("MONGODB_DATABASE")?;
    Ok(Client::with_options(options)?.database(&database).collection("notes"))
}

/// It is an error if the collection's database does not answer.
pub async fn ready(client: &Client) -> Result<()> {
    client.database("admin").run_command(doc! {"ping": 1}).await?;
    Ok(())
}

/// Stores notes with one command. Of those whose id was stored before it returns, by index, what was found; a note that
/// is stored already counts as stored, another note under its id is for the caller to refuse (`Stored::is`). An error
/// says that the outcome of some is unknown.
pub async fn insert(
    collection: &Collection<Stored>,
    notes: &[Note],
    route: &str,
    batch: Option<&str>,
) -> Result<HashMap<usize, Stored>> {
    let documents = notes.iter().map(|note| Document {
        id: note.id,
        fields: &note.fields,
        route,
        at: DateTime::now(),
        batch,
    });
    let Err(error) = collection
        .clone_with_type::<Document>()
        .insert_many(documents)
        .ordered(false)
        .await
    else {
        return Ok(HashMap::new());
    };
    match error.kind.as_ref() {
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(failed),
            write_concern_error: None,
            ..
        }) if failed.iter().all(|write| write.code == DUPLICATE_KEY) => {
            find(
                collection,
                failed
                    .iter()
                    .map(|write| (write.index, notes[write.index].id))
                    .collect(),
            )
            .await
        }
        _ => Err(error.into()),
    }
}

/// Gets the notes with the given ids, under the same indexes.
async fn find(collection: &Collection<Stored>, ids: Vec<(usize, ObjectId)>) -> Result<HashMap<usize, Stored>> {
    let wanted: Vec<_> = ids.iter().map(|(_, id)| *id).collect();
    let found: Vec<Stored> = collection
        .find(doc! {"_id": {"$in": wanted}})
        .await?
        .try_collect()
        .await?;
    let by_id: HashMap<_, _> = found.into_iter().map(|stored| (stored.id, stored)).collect();
    ids.into_iter()
        .map(|(index, id)| match by_id.get(&id) {
            Some(stored) => Ok((index, stored.clone())),
            None => bail!("the note {id} was stored before, and was deleted just now"),
        })
        .collect()
}
