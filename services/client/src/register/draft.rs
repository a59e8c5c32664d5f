//! All data that a registration sends: the record, the sealed shares, the signatures.

use std::sync::Arc;

use bkv_core::id::{Generation, Hash, RegId, Slot};
use bkv_core::record::{KsfParams, Record, SealedShare, shares_hash};
use bkv_core::statement;
use bkv_crypto::delivery;
use bkv_crypto::opaque::{self, ClientRegistration, Stretch, Stretched};
use bkv_crypto::password::Prepared;
use bkv_crypto::toprf::{Commitments, OprfKey, Share};
use bkv_wire::proto::inner::{self as p};

use crate::client::Entered;
use crate::error::{Distrust, Error};
use crate::fault::{Fault, unexpected};
use crate::runtime::Runtime;
use crate::sealed::{self, OwnerKey};
use crate::trusted::Trusted;

/// The state between request and response. The whole OPRF key exists only here and is dropped with it.
pub(super) struct Begun {
    trusted: Arc<Trusted>,
    shares: Vec<Share>,
    commitments: Commitments,
    password: Stretched,
    ksf: KsfParams,
    opaque: ClientRegistration,
    pub(super) request: Vec<u8>,
}

/// The state after the response: the data that is stored and confirmed.
pub(super) struct Draft {
    pub(super) trusted: Arc<Trusted>,
    pub(super) base: Generation,
    pub(super) record: Record,
    pub(super) hash: Hash,
    pub(super) shares: Vec<SealedShare>,
    pub(super) shares_hash: Hash,
    pub(super) owner: Option<p::OwnerSignature>,
    pub(super) acknowledgements: Vec<(Slot, p::Acknowledgement)>,
    /// The tag of the person in the session of these acknowledgements.
    pub(super) subject: Hash,
    owner_key: OwnerKey,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// S13: a fresh OPRF key for every registration.
pub(super) fn begin(
    runtime: &Runtime,
    trusted: &Arc<Trusted>,
    password: &Prepared,
    ksf: Option<KsfParams>,
) -> Result<Begun, Error> {
    let local = |e: &dyn std::fmt::Display| Error::Local(e.to_string());
    let mut rng = runtime.rng();
    let key = OprfKey::random(&mut rng);
    let n = trusted.admission().members.len();
    let (shares, commitments) = key.split(trusted.threshold(), n, &mut rng).map_err(|e| local(&e))?;
    let hardened = key.evaluate_whole(password.expose()).map_err(|e| local(&e))?;
    let policy = trusted.policy();
    let ksf = ksf.unwrap_or(policy.ksf_floor);
    let stretch = Stretch::within(ksf, &policy.ksf_floor, &policy.ksf_ceiling)
        .map_err(|e| Distrust::Stretching(e.to_string()))?;
    let password = stretch.apply(&hardened).map_err(|e| local(&e))?;
    let (opaque, request) = opaque::register_start(&password, &mut rng).map_err(|e| local(&e))?;
    Ok(Begun { trusted: trusted.clone(), shares, commitments, password, ksf, opaque, request })
}

impl Begun {
    /// The record around the leader's response, and each share sealed to its region for this record only.
    pub(super) fn finish(
        self,
        runtime: &Runtime,
        entered: &Entered,
        base: Generation,
        started: &p::RegisterStarted,
        key: &[u8; 32],
    ) -> Result<Draft, Fault> {
        let (list, policy) = (self.trusted.admission(), self.trusted.policy());
        let reg_id = RegId::try_from(&started.reg_id[..]).map_err(|_| unexpected())?;
        let server = Record::server_key(&started.response).ok_or_else(unexpected)?;
        let registered = self
            .opaque
            .finish(&self.password, &started.response, &mut runtime.rng())
            .map_err(|e| Error::Local(e.to_string()))?;
        let account = entered.account;
        let generation = Generation(base.0.saturating_add(1));
        let owner_key = sealed::owner_key(key, &list.lineage, &account);
        let record = Record {
            lineage: list.lineage,
            era: list.era,
            account,
            generation,
            reg_id,
            threshold: list.threshold,
            slots: u8::try_from(list.members.len()).unwrap_or(0),
            admission: list.number,
            policy: policy.number,
            attempts: policy.attempts.clone(),
            upload: registered.upload,
            commitments: self.commitments.encoded().to_vec(),
            ciphertext: sealed::seal_key(
                &registered.export_key,
                &list.lineage,
                list.era,
                &account,
                generation,
                key,
            )?,
            owner: owner_key.public(),
            ksf: self.ksf,
            server,
            right: self.password.right(&account, generation),
        };
        let hash = record.hash();
        let mut shares = Vec::with_capacity(self.shares.len());
        for (member, share) in list.members.iter().zip(&self.shares) {
            let public: &[u8; 32] = member
                .delivery
                .as_slice()
                .try_into()
                .map_err(|_| Error::Local("a delivery key is malformed".into()))?;
            let info = statement::share_info(&hash, member.slot);
            let sealed = delivery::seal(member.slot, public, &info, b"", share);
            shares.push(sealed.map_err(|e| Error::Local(e.to_string()))?);
        }
        Ok(Draft {
            base,
            hash,
            shares_hash: shares_hash(&shares),
            shares,
            record,
            owner: None,
            acknowledgements: vec![],
            subject: entered.subject,
            owner_key,
            request: self.request,
            response: started.response.to_vec(),
            trusted: self.trusted,
        })
    }
}

impl Draft {
    /// The same bytes at every repetition. The session adds its proof.
    pub(super) fn message(&self) -> p::Store {
        let share = |s: &SealedShare| p::SealedShare {
            slot: u32::from(s.slot.0),
            enc: s.enc.clone().into(),
            ct: s.ct.clone().into(),
        };
        p::Store {
            request: self.request.clone().into(),
            response: self.response.clone().into(),
            record: self.record.encode().into(),
            shares: self.shares.iter().map(share).collect(),
            owner: self.owner.clone(),
            proof: None,
        }
    }

    /// Replicas refuse it without t acknowledgements.
    pub(super) fn confirmation(&self) -> p::Confirm {
        let r = &self.record;
        let statement = statement::confirm(&r.lineage, r.era, &r.account, self.base, &r.reg_id, &self.hash);
        p::Confirm {
            reg_id: r.reg_id.0.to_vec().into(),
            record: self.hash.0.to_vec().into(),
            acknowledgements: self.acknowledgements.iter().map(|(_, a)| a.clone()).collect(),
            signature: self.owner_key.sign(&statement).0.to_vec().into(),
            subject: self.subject.0.to_vec().into(),
        }
    }

    /// Regions that have not acknowledged.
    pub(super) fn silent(&self) -> Vec<String> {
        let members = self.trusted.admission().members.iter();
        let here = |slot: Slot| self.acknowledgements.iter().any(|(s, _)| *s == slot);
        members.filter(|m| !here(m.slot)).map(|m| m.region.clone()).collect()
    }
}
