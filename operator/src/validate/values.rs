//! Checks of small values that several fields share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fleet::{KeyOf, Resources, Volume};
use super::names::{self, HostName, Image};
use super::quantity::Quantity;
use super::refusal::Findings;
use crate::conditions::Reason;
use crate::resource::{self as spec, KeyReference, Labels, Period};

pub(super) fn quantity(text: &str, field: &str, findings: &mut Findings) -> Option<Quantity> {
    Quantity::parse(text).or_else(|| {
        let message = format!("{text:?} is no quantity: write it as 500m, 2 or 10Gi");
        findings.refuse(field, Reason::InvalidQuantity, message)
    })
}

/// A size of bytes: whole ones, and at least `least`.
pub(super) fn size(text: &str, least: &str, field: &str, findings: &mut Findings) -> Option<Quantity> {
    let size = quantity(text, field, findings)?;
    let enough = Quantity::parse(least).is_none_or(|l| size.thousandths() >= l.thousandths());
    if enough && size.thousandths() % 1_000 == 0 {
        return Some(size);
    }
    let message = format!("{text} is no size for a volume: whole bytes, and at least {least}");
    findings.refuse(field, Reason::InvalidQuantity, message)
}

pub(super) fn volume(
    size_text: &str,
    class: Option<&str>,
    least: &str,
    field: &str,
    findings: &mut Findings,
) -> Option<Volume> {
    let size = size(size_text, least, &format!("{field}.size"), findings);
    if let Some(class) = class {
        object(class, &format!("{field}.className"), findings);
    }
    Some(Volume { size: size?, class_name: class.map(str::to_owned) })
}

/// CPU and memory, or what stands for none.
pub(super) fn resources(
    given: Option<&spec::Resources>,
    default: Resources,
    field: &str,
    findings: &mut Findings,
) -> Resources {
    let Some(given) = given else { return default };
    let mut amounts = |half: &str, cpu: Option<&String>, memory: Option<&String>| {
        [("cpu", cpu), ("memory", memory)]
            .into_iter()
            .filter_map(|(what, text)| {
                let at = format!("{field}.{half}.{what}");
                let amount = quantity(text?, &at, findings)?;
                if what == "memory" && amount.thousandths() % 1_000 != 0 {
                    let message = format!("{amount} is part of a byte: write memory as 256Mi");
                    findings.refuse::<()>(at, Reason::InvalidQuantity, message);
                }
                Some((what, amount))
            })
            .collect::<BTreeMap<_, _>>()
    };
    let (requests, limits) = (given.requests.as_ref(), given.limits.as_ref());
    let read = Resources {
        requests: amounts(
            "requests",
            requests.and_then(|a| a.cpu.as_ref()),
            requests.and_then(|a| a.memory.as_ref()),
        ),
        limits: amounts(
            "limits",
            limits.and_then(|a| a.cpu.as_ref()),
            limits.and_then(|a| a.memory.as_ref()),
        ),
    };
    for (what, request) in &read.requests {
        if let Some(limit) = read.limits.get(what).filter(|l| l.thousandths() < request.thousandths()) {
            findings.refuse::<()>(
                format!("{field}.requests.{what}"),
                Reason::Conflict,
                format!("{request} is more than the limit of {limit}: no pod could be made; raise the limit or lower the request"),
            );
        }
    }
    read
}

/// What is requested and what is the limit of memory, where the spec says nothing.
pub(super) fn resources_of(millicores: u32, mebibytes: u32, limit_mebibytes: u32) -> Resources {
    Resources {
        requests: [("cpu", Quantity::millicores(millicores)), ("memory", Quantity::mebibytes(mebibytes))]
            .into(),
        limits: [("memory", Quantity::mebibytes(limit_mebibytes))].into(),
    }
}

pub(super) fn milliseconds(period: &Period, field: &str, findings: &mut Findings) -> Option<u64> {
    // A century, so that sums and dates stay in their types.
    period.milliseconds().filter(|ms| *ms <= 100 * 365 * 86_400_000).or_else(|| {
        let message = format!("{:?} is no length of time: write it as 90s, 10m or 168h", period.0);
        findings.refuse(field, Reason::InvalidPeriod, message)
    })
}

pub(super) fn duration(period: &Period, field: &str, findings: &mut Findings) -> Option<Duration> {
    milliseconds(period, field, findings).map(Duration::from_millis)
}

/// An object's name.
pub(super) fn object(name: &str, field: &str, findings: &mut Findings) {
    findings.want(
        names::object_name(name),
        field,
        Reason::InvalidName,
        "not the name of an object: lower case letters, digits, '-' and '.', at most 253",
    );
}

pub(super) fn key_of(reference: &KeyReference, default: &str, field: &str, findings: &mut Findings) -> KeyOf {
    key(&reference.name, reference.key_or(default), field, findings)
}

pub(super) fn key(name: &str, key: &str, field: &str, findings: &mut Findings) -> KeyOf {
    object(name, &format!("{field}.name"), findings);
    findings.want(
        names::data_key(key),
        &format!("{field}.key"),
        Reason::InvalidName,
        "not a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.'",
    );
    KeyOf { name: name.to_owned(), key: key.to_owned() }
}

pub(super) fn image(reference: &str, field: &str, findings: &mut Findings) -> Option<Image> {
    Image::new(reference).or_else(|| {
        findings.refuse(
            field,
            Reason::InvalidValue,
            format!("{reference:?} is no image: registry/name:tag or registry/name@sha256:…"),
        )
    })
}

pub(super) fn host(name: &str, field: &str, findings: &mut Findings) -> Option<HostName> {
    HostName::new(name).or_else(|| {
        let message = format!("{name:?} is no DNS name: write it as chat.example.org, without scheme, port or capitals; an IP address is none");
        findings.refuse(field, Reason::InvalidName, message)
    })
}

pub(super) fn hosts(given: &[String], field: &str, findings: &mut Findings) -> Vec<HostName> {
    findings.range(field, given.len(), (0, 8));
    // In order, each once: a list with one name twice would be refused by the API server, for it is a set there.
    let mut seen = BTreeSet::new();
    let unique = given.iter().enumerate().filter(|(_, name)| seen.insert(name.as_str()));
    unique.filter_map(|(i, name)| host(name, &format!("{field}[{i}]"), findings)).collect()
}

/// Annotations: any value.
pub(super) fn annotations(
    given: Option<&Labels>,
    field: &str,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let given = given.cloned().unwrap_or_default();
    for key in given.keys().filter(|k| !names::qualified(k)) {
        findings.refuse::<()>(
            field,
            Reason::InvalidName,
            format!("{key:?} is no key of an annotation: example.org/name"),
        );
    }
    given
}

/// Labels: values are words.
pub(super) fn labels(
    given: Option<&Labels>,
    field: &str,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let given = given.cloned().unwrap_or_default();
    for (key, value) in given.iter().filter(|(k, v)| !names::qualified(k) || !names::label_value(v)) {
        findings.refuse::<()>(
            field,
            Reason::InvalidName,
            format!("{key:?}: {value:?} is no label: example.org/name and a word of at most 63 characters"),
        );
    }
    given
}

/// The port of an https URL. None: it is none, or holds a user or password, which would be shown to everybody.
pub(super) fn https_port(url: &str) -> Option<u16> {
    let authority = url.strip_prefix("https://")?.split(['/', '?', '#']).next()?;
    let clean = url.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if !clean || authority.contains('@') {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(six) => six.split_once(']').map(|(h, rest)| (h, rest.strip_prefix(':')))?,
        None => authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
    };
    if host.is_empty() {
        return None;
    }
    port.map_or(Some(443), |p| p.parse().ok().filter(|p| *p != 0))
}

#[cfg(test)]
mod tests {
    use super::https_port;

    #[test]
    fn ports_of_urls() {
        for (url, port) in [
            ("https://a.example/keys", Some(443)),
            ("https://a.example:8443", Some(8443)),
            ("https://[2001:db8::1]:8443/x", Some(8443)),
            ("https://[2001:db8::1]", Some(443)),
            ("http://a.example", None),
            ("https://", None),
            ("https://:443", None),
            ("https://a:0", None),
            ("https://a:x", None),
            ("https://me:secret@a.example", None),
            ("https://a b", None),
        ] {
            assert_eq!(https_port(url), port, "{url}");
        }
    }
}
