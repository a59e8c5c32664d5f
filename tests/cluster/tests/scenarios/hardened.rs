//! S33: every pod of ours runs under the `restricted` rules and writes to nothing but its volumes. S34: ports between pods accept the right role only.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::CommandOutput;
use serde_json::Value;

use super::resource::PEOPLE;
use super::testbed::{MADE, Testbed};

/// Of every vault's pod.
pub(crate) const ADMIN: u16 = 7300;

pub(crate) fn run(testbed: &mut Testbed) -> String {
    let pods = testbed.cluster.list(PEOPLE, "pods", MADE);
    for pod in &pods {
        let (name, spec) = (&pod["metadata"]["name"], &pod["spec"]);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array().into_iter().flatten() {
                let context = &container["securityContext"];
                assert_eq!(context["readOnlyRootFilesystem"], true, "{name} {container}");
                assert_eq!(context["capabilities"]["drop"][0], "ALL", "{name} {container}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name} {container}");
                assert_eq!(context["runAsNonRoot"], true, "{name} {container}");
            }
        }
    }
    let budgets = testbed.cluster.list(PEOPLE, "poddisruptionbudgets,networkpolicies", MADE);
    assert!(
        budgets.iter().filter(|o| o["kind"] == "NetworkPolicy").count() >= 3,
        "S36: the policies are not there"
    );

    let forward = testbed.cluster.forward(PEOPLE, "pod/demo-us-east-0", ADMIN);
    let address = forward.address.to_string();
    let held = |secret: &str| testbed.cluster.get(PEOPLE, "secret", secret);
    let admin = knock(testbed, &address, Some(&held("demo-admin")), &["-tls1_3"]);
    assert!(
        admin.out.contains("200 OK") && admin.out.contains("\"region\""),
        "the port refuses the admin: {admin:?}"
    );
    for (whose, options) in [
        (Some("demo-chatd-tls"), "-tls1_3"),
        (Some("demo-us-east-tls"), "-tls1_3"),
        (Some("demo-chatd-web"), "-tls1_3"),
        (None, "-tls1_3"),
        (Some("demo-admin"), "-tls1_2"),
    ] {
        let refused = knock(testbed, &address, whose.map(held).as_ref(), &[options]);
        assert!(!refused.out.contains("200 OK"), "the port accepts {whose:?} with {options}: {refused:?}");
    }
    format!("{} pods; the admin port refuses other roles, no certificate, and TLS 1.2", pods.len())
}

/// Asks for the vault's status with the certificate of a Secret, as an attacker who has stolen that Secret would.
pub(crate) fn knock(
    testbed: &Testbed,
    address: &str,
    stolen: Option<&Value>,
    options: &[&str],
) -> CommandOutput {
    let folder = testbed.folder.path();
    let mut command = Command::new("timeout");
    command.args(["5", "openssl", "s_client", "-quiet", "-ign_eof", "-connect", address]).args(options);
    if let Some(held) = stolen {
        let certificate = file(folder, "stolen.crt", &held["data"]["tls.crt"]);
        let key = file(folder, "stolen.key", &held["data"]["tls.key"]);
        command.args(["-cert", &certificate, "-key", &key]);
    }
    CommandOutput::of(
        &mut command,
        Some("GET /v1/status HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n"),
    )
}

fn file(folder: &Path, name: &str, data: &Value) -> String {
    let path = folder.join(name);
    std::fs::write(&path, STANDARD.decode(data.as_str().expect("a key of the Secret")).expect("base64"))
        .expect("written");
    path.display().to_string()
}
