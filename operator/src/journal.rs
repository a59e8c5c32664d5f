//! The journal of a fleet: the ConfigMap `<name>-fleet`. The operator writes it before any object of the plan and before any call that changes a vault.
//! It has no owner, so it outlives the resource, a wiped status and a GitOps tool. If it exists, a fleet of this id may hold users' keys. This module is pure: `api_server` reads and writes the ConfigMap.

use std::collections::BTreeMap;

use crate::validate::PullPolicy;

/// The fleet's progress. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JournalStage {
    /// The fleet has an id. Nothing else is certain.
    Begun,
    /// Raft may have been initialised, so keys may exist.
    Initialising,
    /// A vault has reported that every shard knows the fleet.
    Initialised,
}

impl JournalStage {
    const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Initialising => "initialising",
            Self::Initialised => "initialised",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Begun, Self::Initialising, Self::Initialised].into_iter().find(|s| s.name() == text)
    }
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The fleet's id, 32 hexadecimal digits. With an offline root it comes from the root file, otherwise the operator draws it once.
    pub fleet: String,
    /// The region whose vault makes an in-fleet root and initialises Raft.
    pub seed: String,
    /// The vaults' images as they were when the fleet was made. A new operator therefore changes no pod of a vault.
    pub pinned: Pinned,
    /// The fleet's progress.
    pub stage: JournalStage,
}

/// The operator's settings that are part of vault pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The vault's image.
    pub vault_image: String,
    /// The copier's image.
    pub copier_image: String,
    /// When they are pulled.
    pub pull_policy: PullPolicy,
}

/// The journal is unusable. The operator must not guess: it could make new keys over old ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A field is missing or invalid.
    #[error("ConfigMap {name}: `{field}` {why}")]
    Field {
        /// Which ConfigMap.
        name: String,
        /// Which key.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

impl Journal {
    /// Whether `text` is a fleet's id: 32 hexadecimal digits.
    pub fn is_fleet_id(text: &str) -> bool {
        text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }

    /// As the ConfigMap's data.
    pub fn write(&self) -> BTreeMap<String, String> {
        [
            ("fleet", self.fleet.clone()),
            ("seed", self.seed.clone()),
            ("vaultImage", self.pinned.vault_image.clone()),
            ("copierImage", self.pinned.copier_image.clone()),
            ("pullPolicy", self.pinned.pull_policy.as_str().to_owned()),
            ("stage", self.stage.name().to_owned()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }

    /// From the ConfigMap's data.
    pub fn read(name: &str, data: &BTreeMap<String, String>) -> Result<Self, JournalError> {
        let field = |field: &'static str| {
            let missing = || JournalError::Field { name: name.to_owned(), field, why: "is missing" };
            data.get(field).filter(|v| !v.is_empty()).cloned().ok_or_else(missing)
        };
        let odd = |field, why| JournalError::Field { name: name.to_owned(), field, why };
        let fleet = field("fleet")?;
        if !Self::is_fleet_id(&fleet) {
            return Err(odd("fleet", "is not 32 hexadecimal digits"));
        }
        let stage = JournalStage::read(&field("stage")?);
        Ok(Self {
            fleet,
            seed: field("seed")?,
            pinned: Pinned {
                vault_image: field("vaultImage")?,
                copier_image: field("copierImage")?,
                pull_policy: PullPolicy::named(&field("pullPolicy")?)
                    .ok_or_else(|| odd("pullPolicy", "is not Always, IfNotPresent or Never"))?,
            },
            stage: stage.ok_or_else(|| odd("stage", "is not begun, initialising or initialised"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::changed_test::text;

    const KEYS: [&str; 6] = ["fleet", "seed", "vaultImage", "copierImage", "pullPolicy", "stage"];

    proptest! {
        #[test]
        fn s38_a_changed_journal_is_refused_or_means_what_it_holds(key in proptest::sample::select(&KEYS[..]), value in text()) {
            let mut data = journal().write();
            data.insert(key.to_owned(), value);
            if let Ok(read) = Journal::read("demo-fleet", &data) {
                prop_assert_eq!(read.write(), data);
            }
        }

        #[test]
        fn s38_arbitrary_data_is_no_journal(data: BTreeMap<String, String>) {
            prop_assert!(Journal::read("demo-fleet", &data).is_err());
        }
    }

    fn journal() -> Journal {
        Journal {
            fleet: "00112233445566778899aabbccddeeff".into(),
            seed: "eu-west".into(),
            pinned: Pinned {
                vault_image: "registry/bkv-vault:1".into(),
                copier_image: "registry/bkv-copier:1".into(),
                pull_policy: PullPolicy::IfNotPresent,
            },
            stage: JournalStage::Initialising,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for stage in [JournalStage::Begun, JournalStage::Initialising, JournalStage::Initialised] {
            let j = Journal { stage, ..journal() };
            assert_eq!(Journal::read("demo-fleet", &j.write()), Ok(j));
        }
        assert!(
            JournalStage::Begun < JournalStage::Initialising
                && JournalStage::Initialising < JournalStage::Initialised
        );
    }

    #[test]
    fn each_missing_or_odd_field_is_named_and_nothing_is_guessed() {
        for key in KEYS {
            let mut data = journal().write();
            data.remove(key);
            let error = Journal::read("demo-fleet", &data).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("demo-fleet"), "{error}");
        }
        for (key, value) in
            [("fleet", "00"), ("fleet", "0011223344556677 899aabbccddeeff"), ("stage", "done")]
        {
            let mut data = journal().write();
            data.insert(key.into(), value.into());
            assert!(Journal::read("demo-fleet", &data).is_err(), "{key}={value}");
        }
    }
}
