//! Shrinking: which faults of a schedule that failed it needs to fail.

use std::path::Path;

use anyhow::Result;

use crate::alone;
use crate::args::Args;
use crate::plan::Plan;

/// Leaves out one fault after the other, and those for good without which it fails as well. A
/// schedule fails by chance, too: what is left is what failed at the last try.
pub(crate) async fn shrunk(args: &Args, programs: &Path, plan: &Plan) -> Result<Plan> {
    let mut shortest = plan.clone();
    let mut nth = 0;
    while nth < shortest.faults.len() && shortest.faults.len() > 1 {
        let mut shorter = shortest.clone();
        let (_, left_out) = shorter.faults.remove(nth);
        let outcome = alone(args, programs, &shorter, None).await?;
        if outcome.violations.is_empty() {
            eprintln!("    it held without [{left_out}]");
            nth += 1;
        } else {
            eprintln!("    it fails without [{left_out}], too");
            shortest = shorter;
        }
    }
    Ok(shortest)
}
