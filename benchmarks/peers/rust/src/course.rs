//! The note: its rules, and its id.

use std::fmt;

use actix_web::http::header::HeaderValue;
use mongodb::bson::oid::ObjectId;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

const MAX_CHARACTERS: usize = 128;

/// The body of `POST /course`: nothing but four texts, each of 1 to 128 characters and not only white space.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    pub curso: String,
    pub facultad: String,
    pub carrera: String,
    pub region: String,
}

impl Fields {
    /// The texts by their names.
    pub fn texts(&self) -> [(&'static str, &str); 4] {
        [
            ("curso", &self.curso),
            ("facultad", &self.facultad),
            ("carrera", &self.carrera),
            ("region", &self.region),
        ]
    }

    /// The name of a text that breaks the rules, if one does.
    pub fn bad(&self) -> Option<&'static str> {
        let bad = |text: &str| text.trim().is_empty() || text.chars().count() > MAX_CHARACTERS;
        self.texts()
            .into_iter()
            .find(|(_, text)| bad(text))
            .map(|(name, _)| name)
    }
}

/// A JSON object and nothing else: what is derived for a struct would take a list of its values too.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// A course note with the id of its document.
#[derive(Clone, Debug)]
pub struct Note {
    pub id: ObjectId,
    pub fields: Fields,
}

/// The id that an Idempotency-Key fixes, or a fresh one if there is no key; None if what was sent is no such key.
pub fn id_of<'a>(mut keys: impl Iterator<Item = &'a HeaderValue>) -> Option<ObjectId> {
    let Some(key) = keys.next().map(HeaderValue::as_bytes) else {
        return Some(ObjectId::new());
    };
    if keys.next().is_some() || !(1..=128).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    Sha256::digest(key).first_chunk().map(|id| ObjectId::from_bytes(*id))
}
