//! The client for the API server. Its lowest layer counts every write, so that none can be missed.

use axum::http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use prometheus::IntCounterVec;
use tower::util::MapRequestLayer;

/// A client that counts requests which may write.
pub(super) fn client(config: Config, writes: IntCounterVec) -> kube::Result<Client> {
    let counted = MapRequestLayer::new(move |request: Request<Body>| {
        if let Some(resource) = written(request.method(), request.uri().path()) {
            writes.with_label_values(&[resource]).inc();
        }
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&counted).build())
}

/// The resource that a request may write to. Leases and events are not counted: a lease is renewed all the time, and an event reports another write.
fn written<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    // /api/v1/namespaces/NAMESPACE/RESOURCE/… and /apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/…
    let (_, rest) = path.split_once("/namespaces/")?;
    let resource = rest.split('/').nth(1)?;
    (!matches!(resource, "leases" | "events")).then_some(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_told_by_method_and_resource() {
        let of = |method: Method, path| written(&method, path);
        assert_eq!(of(Method::PATCH, "/api/v1/namespaces/a/configmaps/demo-fleet"), Some("configmaps"));
        assert_eq!(of(Method::POST, "/api/v1/namespaces/namespaces/secrets"), Some("secrets"));
        let status = "/apis/bkv.dev/v1alpha1/namespaces/a/backupkeyvaults/demo/status";
        assert_eq!(of(Method::PATCH, status), Some("backupkeyvaults"));
        assert_eq!(of(Method::DELETE, "/apis/apps/v1/namespaces/a/deployments/x"), Some("deployments"));
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a/secrets/demo-ca"), None);
        assert_eq!(of(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/bkv-operator"), None);
        assert_eq!(of(Method::POST, "/apis/events.k8s.io/v1/namespaces/a/events"), None);
    }
}
