//! The request for an offline signing ceremony.

use std::collections::BTreeMap;

use bkv_admin_api::draft::{Draft, to_sign};
use bkv_wire::documents::{Kind, fingerprint};

use crate::api_server::{ConfigMapStore, ObjectError, request};

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
    name: &str,
    drafts: &[Draft],
    asked: &BTreeMap<String, Vec<u8>>,
) -> Result<bool, RequestError> {
    let same = |draft: &Draft| asked.get(file(draft)).is_some_and(|unsigned| draft.does_as_well(unsigned));
    if drafts.len() == asked.len() && drafts.iter().all(same) {
        return Ok(false);
    }
    let mut bytes = BTreeMap::new();
    let mut lines = vec![
        "Compare the fingerprints below with those that the people of each region read from their vault. Then sign each file off the cluster, with as many root keys as the root requires:".to_owned(),
    ];
    for draft in drafts {
        let (kind, unsigned) = unsigned(draft)?;
        let file = file(draft);
        lines.push(format!(
            "  kubectl get configmap {} -o jsonpath='{{.binaryData.{}}}' | base64 -d > {file}",
            request(name),
            file.replace('.', "\\.")
        ));
        lines.push(format!("  bkv ceremony show {file}"));
        lines.push(format!(
            "  bkv ceremony sign {file} --key root.key --root root.bin --output {}.signed",
            kind.name()
        ));
        if let Draft::Admission(list) = draft {
            for m in &list.members {
                lines.push(format!(
                    "    {}: identity {} delivery {}",
                    m.region,
                    fingerprint("identity", &m.identity),
                    fingerprint("delivery", &m.delivery)
                ));
            }
        }
        bytes.insert(file.to_owned(), unsigned);
    }
    lines.push("Then put the results into the ConfigMap that fleet.root.offline.signedConfigMapRef names, under the keys `admission` and `policy` (kubectl create configmap … --from-file=admission=admission.signed --from-file=policy=policy.signed --dry-run=client -o yaml | kubectl apply --server-side -f -).".to_owned());
    let text = [("how".to_owned(), lines.join("\n"))].into();
    // An older request may have other files, so it is removed first.
    store.remove(&request(name)).await?;
    store.keep(&request(name), text, bytes).await?;
    Ok(true)
}

const fn file(draft: &Draft) -> &'static str {
    match draft.kind() {
        Kind::Admission => "admission.unsigned",
        Kind::Policy => "policy.unsigned",
    }
}
