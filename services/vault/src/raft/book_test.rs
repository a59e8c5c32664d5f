use bkv_core::id::{Era, Lineage, Time};

use super::*;

fn certificate(index: u64) -> StoredCertificate {
    let checkpoint = Checkpoint {
        lineage: Lineage([1; 32]),
        era: Era(1),
        shard: 0,
        term: 1,
        leader: NodeId(1),
        index,
        chain: Hash([2; 32]),
        list: 1,
        time: Time(index),
        rows: 0,
        digest: Hash([3; 32]),
        version: 12,
    };
    let membership = InForce { membership: Vec::new(), at: Vec::new() };
    StoredCertificate { certificate: Certificate { checkpoint, signatures: Vec::new() }, membership }
}

/// S48: a call has made a certificate, and before it is handed to the store a snapshot with a newer one is installed.
#[test]
fn s48_the_newer_certificate_is_written_last() {
    let (book, disk) = (Book::new(Arc::default()), Mutex::new(Vec::new()));
    let alone = || assert!(book.inner.try_lock().is_none(), "another call could write in between");
    book.restore(certificate(10), None, || {});
    book.restore(certificate(20), None, || {
        alone();
        disk.lock().push(20);
    });
    book.write_certified(|late| {
        alone();
        disk.lock().push(late.certificate.checkpoint.index);
    });
    assert_eq!(*disk.lock(), [20, 20]);
}
