//! The `restricted` pod standard, as Kubernetes 1.36 defines it, checked on the JSON that goes to the API server.

use serde_json::Value;

use crate::kinds::Kind;

/// The fields of a pod template that break the standard or our stricter rules.
pub(super) fn violations(template: &Value) -> Vec<String> {
    let spec = &template["spec"];
    let mut found = Vec::new();
    let mut want = |good: bool, what: &str| {
        if !good {
            found.push(what.to_owned());
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        want(spec[field] != true, field);
    }
    let pod = &spec["securityContext"];
    want(pod["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile");
    want(pod["runAsNonRoot"] == true && pod["runAsUser"] == 65_532, "runAsNonRoot");
    want(pod["sysctls"].is_null() && pod["seLinuxOptions"].is_null(), "sysctls, seLinuxOptions");
    want(spec["automountServiceAccountToken"] == false, "automountServiceAccountToken");
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let kinds = ["configMap", "emptyDir", "projected", "secret", "image", "persistentVolumeClaim"];
        let known = volume.as_object().unwrap().keys().all(|k| k == "name" || kinds.contains(&k.as_str()));
        want(known, &format!("volume {}", volume["name"]));
    }
    for container in containers(template) {
        let security = &container["securityContext"];
        let name = &container["name"];
        want(security["allowPrivilegeEscalation"] == false, &format!("{name} allowPrivilegeEscalation"));
        want(security["capabilities"]["drop"] == serde_json::json!(["ALL"]), &format!("{name} drop ALL"));
        want(security["capabilities"]["add"].is_null(), &format!("{name} adds capabilities"));
        want(security["privileged"] != true, &format!("{name} privileged"));
        want(security["procMount"].is_null(), &format!("{name} procMount"));
        want(security["readOnlyRootFilesystem"] == true, &format!("{name} readOnlyRootFilesystem"));
        want(security["runAsUser"].is_null(), &format!("{name} has a user of its own"));
        let ports = container["ports"].as_array().into_iter().flatten();
        want(ports.clone().all(|p| p["hostPort"].is_null()), &format!("{name} hostPort"));
        want(!container["resources"]["limits"]["memory"].is_null(), &format!("{name} limits no memory"));
    }
    found
}

/// All containers of a template, init containers included.
pub(super) fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| template["spec"][list].as_array().into_iter().flatten())
}

#[test]
fn the_check_itself_finds_what_is_forbidden() {
    let world = super::samples_test::World::case(super::samples_test::CASES[0].1);
    let set = world.objects().into_iter().find(|o| o.kind == Kind::StatefulSet).unwrap();
    let good = set.body["spec"]["template"].clone();
    assert_eq!(violations(&good), Vec::<String>::new());
    let breaks: [fn(&mut Value); 6] = [
        |t| t["spec"]["hostNetwork"] = true.into(),
        |t| t["spec"]["securityContext"]["runAsUser"] = 0.into(),
        |t| t["spec"]["securityContext"]["seccompProfile"] = Value::Null,
        |t| t["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"] = Value::Null,
        |t| t["spec"]["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into(),
        |t| t["spec"]["volumes"][0] = serde_json::json!({"name": "host", "hostPath": {"path": "/"}}),
    ];
    for (i, spoil) in breaks.into_iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert_eq!(violations(&bad).len(), 1, "{i}");
    }
}
