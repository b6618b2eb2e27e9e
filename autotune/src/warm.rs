//! Where a search begins beside the default: with what is known to be good nearby.

use crate::book::Book;
use crate::tasks::Task;
use jet_cache::{Entry, Status};
use jet_codegen::schedule::{Family, Values};

/// The schedule of the task's own record, else of the nearest record of its family that is legal here: another bucket, other
/// sizes, another format, another device. Of equally near ones the better founded, then the nearer bucket.
pub(crate) fn start(family: &dyn Family, task: &Task, book: &dyn Book) -> Option<Values> {
    let values = |entry: &Entry| Values(entry.schedule.clone());
    let legal = |entry: &Entry| family.legal(&task.problem, &values(entry)).is_ok();
    let own = book.find(task.key.store_key()).filter(|e| e.status != Status::Assumed && legal(e));
    if let Some(own) = own {
        return Some(values(&own));
    }
    let here = task.key.store_key().bucket() as f64;
    let distance = |entry: &Entry| {
        let there = entry.key.store_key().bucket() as f64;
        ((here.max(1.0) / there.max(1.0)).ln().abs() * 1e6) as u64
    };
    let rank =
        |entry: &Entry| (task.key.agreement(&entry.key), entry.status, std::cmp::Reverse(distance(entry)));
    let records = book.records();
    let related = records.iter().filter(|e| {
        let fields = e.key.fields();
        let (name, version) = (family.name(), family.version());
        fields.family == name && fields.family_version == version && e.status != Status::Assumed && legal(e)
    });
    related.max_by_key(|entry| rank(entry)).map(values)
}
