//! What the programs share: the note, group commit, the HTTP side, and the generated code of the contract with ledger.

pub mod batch;
pub mod counters;
pub mod course;
pub mod ledgerpb;
pub mod notes;
pub mod web;
