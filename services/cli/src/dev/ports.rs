//! Ports of a local fleet that another program has. The program of the fleet would end, or never serve, and the others would wait for it.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::layout::Layout;
use super::plan::RegionPlan;
use crate::exit::{Exit, Failure, Outcome};

/// Fails if another program has a port of a program that does not run.
pub(super) fn check(layout: &Layout) -> Outcome {
    for region in &layout.plan.regions {
        check_vault(layout, region)?;
    }
    if layout.network_process().pid().is_none() {
        for port in layout.plan.regions.iter().filter_map(|r| r.network) {
            free("network", port)?;
        }
    }
    if layout.chatd_process().pid().is_none() {
        free("chatd", layout.plan.chatd)?;
        free("chatd", layout.plan.chatd_health)?;
    }
    Ok(())
}

/// The same for one vault.
pub(super) fn check_vault(layout: &Layout, region: &RegionPlan) -> Outcome {
    let process = layout.vault_process(&region.name);
    if process.pid().is_some() {
        return Ok(());
    }
    [region.peer, region.relay, region.admin, region.health]
        .into_iter()
        .try_for_each(|port| free(&process.name, port))
}

fn free(of: &str, port: u16) -> Outcome {
    match TcpListener::bind(("127.0.0.1", port)) {
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            let what = format!("{of}: another program has port {port} of 127.0.0.1");
            Err(Failure::new(Exit::Unavailable, what).remedy(format!(
                "`ss -tlnp sport = :{port}` shows which. End it and repeat the command, or make another fleet in a folder of its own, with --dir: it gets other ports."
            )))
        }
        // The program reports any other fault better.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_named_with_how_to_find_its_owner() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let e = free("vault eu-west", port).unwrap_err();
        assert!(e.message.contains("vault eu-west") && e.message.contains(&port.to_string()), "{e}");
        assert!(e.remedy.unwrap().contains("ss -tlnp"));
        drop(taken);
        free("vault eu-west", port).unwrap();
    }
}
