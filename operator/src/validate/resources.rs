//! Quantities: volumes, CPU and memory.

use std::collections::BTreeMap;

use super::quantity::Quantity;
use super::references::object;
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource as spec;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its size.
    pub size: Quantity,
    /// Its StorageClass, if not the cluster's own.
    pub class_name: Option<String>,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// `cpu`, `memory` → requested amount.
    pub requests: BTreeMap<&'static str, Quantity>,
    /// `cpu`, `memory` → limit.
    pub limits: BTreeMap<&'static str, Quantity>,
}

pub(super) fn quantity(text: &str, field: &str, refusals: &mut Refusals) -> Option<Quantity> {
    Quantity::parse(text).or_else(|| {
        let message = format!("{text:?} is not a quantity: write it as 500m, 2 or 10Gi");
        refusals.refuse(field, Reason::InvalidQuantity, message)
    })
}

/// A size in whole bytes, of at least `least`.
pub(super) fn size(text: &str, least: &str, field: &str, refusals: &mut Refusals) -> Option<Quantity> {
    let size = quantity(text, field, refusals)?;
    let enough = Quantity::parse(least).is_none_or(|l| size.thousandths() >= l.thousandths());
    if enough && size.thousandths() % 1_000 == 0 {
        return Some(size);
    }
    let message = format!("{text} is not a valid volume size: use whole bytes, at least {least}");
    refusals.refuse(field, Reason::InvalidQuantity, message)
}

pub(super) fn volume(
    size_text: &str,
    class: Option<&str>,
    least: &str,
    field: &str,
    refusals: &mut Refusals,
) -> Option<Volume> {
    let size = size(size_text, least, &format!("{field}.size"), refusals);
    if let Some(class) = class {
        object(class, &format!("{field}.className"), refusals);
    }
    Some(Volume { size: size?, class_name: class.map(str::to_owned) })
}

/// CPU and memory of the spec, or the default.
pub(super) fn resources(
    given: Option<&spec::Resources>,
    default: Resources,
    field: &str,
    refusals: &mut Refusals,
) -> Resources {
    let Some(given) = given else { return default };
    let mut amounts = |half: &str, cpu: Option<&String>, memory: Option<&String>| {
        [("cpu", cpu), ("memory", memory)]
            .into_iter()
            .filter_map(|(what, text)| {
                let at = format!("{field}.{half}.{what}");
                let amount = quantity(text?, &at, refusals)?;
                if what == "memory" && amount.thousandths() % 1_000 != 0 {
                    let message = format!("{amount} is a fraction of a byte: write memory as 256Mi");
                    refusals.refuse::<()>(at, Reason::InvalidQuantity, message);
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
            refusals.refuse::<()>(
                format!("{field}.requests.{what}"),
                Reason::Conflict,
                format!("{request} exceeds the limit of {limit}, so no pod could be created: raise the limit or lower the request"),
            );
        }
    }
    read
}

/// The default requests and the default memory limit.
pub(super) fn resources_of(millicores: u32, mebibytes: u32, limit_mebibytes: u32) -> Resources {
    Resources {
        requests: [("cpu", Quantity::millicores(millicores)), ("memory", Quantity::mebibytes(mebibytes))]
            .into(),
        limits: [("memory", Quantity::mebibytes(limit_mebibytes))].into(),
    }
}
