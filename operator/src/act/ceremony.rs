//! The request for an offline signing ceremony.

use std::collections::BTreeMap;

use bkv_admin_api::draft::{Draft, to_sign};
use bkv_admin_api::shown::text;
use bkv_wire::documents::{Kind, show_to_sign};

use crate::api_server::{ConfigMapStore, ObjectError};
use crate::validate::ObjectNames;

/// The request could not be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error(transparent)]
    Apply(#[from] ObjectError),
    /// The spec asks for a document that breaks a rule of its format.
    #[error("the document `{0}` can't be drafted: {1}")]
    Document(&'static str, String),
}

/// A draft's kind and the bytes to sign.
pub(crate) fn unsigned(draft: &Draft) -> Result<(Kind, Vec<u8>), RequestError> {
    let kind = draft.kind();
    let bytes = to_sign(draft).map_err(|e| RequestError::Document(kind.name(), e.to_string()))?;
    Ok((kind, bytes))
}

/// Publishes the documents that people must sign, with the fingerprints to compare and the commands to run. A request for the same documents stays:
/// people may be about to sign it. Returns true if a request was written.
pub(crate) async fn ask(
    store: &ConfigMapStore<'_>,
    names: ObjectNames<'_>,
    drafts: &[Draft],
    asked: &BTreeMap<String, Vec<u8>>,
) -> Result<bool, RequestError> {
    let same = |draft: &Draft| asked.get(file(draft)).is_some_and(|unsigned| draft.does_as_well(unsigned));
    if drafts.len() == asked.len() && drafts.iter().all(same) {
        return Ok(false);
    }
    let mut bytes = BTreeMap::new();
    for draft in drafts {
        bytes.insert(file(draft).to_owned(), unsigned(draft)?.1);
    }
    let how = [("how".to_owned(), instructions(names, drafts)?)].into();
    // An older request may have other files, so it is removed first.
    let request = names.ceremony_request();
    store.remove(&request).await?;
    store.keep(&request, how, bytes).await?;
    Ok(true)
}

/// What people do, and every field of what they sign, as `bkv ceremony show` prints it.
fn instructions(names: ObjectNames<'_>, drafts: &[Draft]) -> Result<String, RequestError> {
    let get = |config_map: &str, key: &str, file: &str| {
        format!(
            "  kubectl get configmap {config_map} -o jsonpath='{{.binaryData.{}}}' | base64 -d > {file}",
            key.replace('.', "\\.")
        )
    };
    let mut lines = vec![
        "Compare every field below with what you expect, and the fingerprints of a member with those that the people of its region read from their vault. Then sign each file off the cluster, with as many root keys as the root requires. Whoever can edit this ConfigMap can change its text: what `bkv ceremony` shows on your machine decides.".to_owned(),
    ];
    for draft in drafts {
        let (kind, unsigned) = unsigned(draft)?;
        let (file, kind) = (file(draft), kind.name());
        let shown = show_to_sign(&unsigned).map_err(|e| RequestError::Document(kind, e.to_string()))?;
        lines.push(get(&names.ceremony_request(), file, file));
        let previous = if shown.content.number() > 1 {
            lines.push(get(&names.documents(), kind, &format!("{kind}.before")));
            format!(" --previous {kind}.before")
        } else {
            String::new()
        };
        lines.push(format!("  bkv ceremony show {file} --root root.bin{previous}"));
        lines.push(format!(
            "  bkv ceremony sign {file} --key root.key --root root.bin{previous} --output {kind}.signed"
        ));
        lines.extend(text(&shown, None).lines().map(|line| format!("    {line}")));
    }
    lines.push("Then put the results into the ConfigMap that fleet.root.offline.signedConfigMapRef names, under the keys `admission` and `policy` (kubectl create configmap … --from-file=admission=admission.signed --from-file=policy=policy.signed --dry-run=client -o yaml | kubectl apply --server-side -f -).".to_owned());
    Ok(lines.join("\n"))
}

const fn file(draft: &Draft) -> &'static str {
    match draft.kind() {
        Kind::Admission => "admission.unsigned",
        Kind::Policy => "policy.unsigned",
    }
}

#[cfg(test)]
mod tests {
    use bkv_admin_api::draft::PolicyWish;
    use bkv_core::document::JwksSource;
    use bkv_core::id::{Era, FleetId, PublicKey, Time};
    use bkv_wire::documents::Root;

    use super::*;
    use crate::validate::FleetName;

    /// S56: the request shows what an edit of the resource changes.
    #[test]
    fn s56_a_request_shows_every_field_that_is_signed() {
        let root = Root {
            keys: vec![PublicKey([1; 32])],
            threshold: 1,
            fleet: FleetId([2; 16]),
            era: Era(1),
            development: false,
        };
        let wish = |url: &str| PolicyWish {
            issuer: "https://issuer.example".into(),
            vault_audience: "bkv-vault".into(),
            chatd_audience: "bkv-chatd".into(),
            jwks: JwksSource::Url(url.into()),
            enrolment_claim: None,
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0],
            token_max_age_ms: 600_000,
            bound_tokens: false,
            shards: 4,
            development: false,
        };
        let draft = |url, number| Draft::Policy(wish(url).draft(&root, number, Time(1_790_000_000_000)));
        let (old, new) = ("https://issuer.example/keys", "https://evil.example/keys");
        let name = FleetName::new("keys").unwrap();
        let names = ObjectNames::new(&name);
        let text = instructions(names, &[draft(new, 2)]).unwrap();
        assert!(text.contains("jwks: URL \"https://evil.example/keys\"") && !text.contains(old), "{text}");
        assert!(text.contains("keys-documents -o jsonpath='{.binaryData.policy}'"), "{text}");
        assert!(text.contains("--previous policy.before") && text.contains("token_max_age: 10m"), "{text}");
        assert!(!instructions(names, &[draft(old, 1)]).unwrap().contains("--previous"));
    }
}
