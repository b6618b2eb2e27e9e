//! Immediate post-dominators: where lanes that part at a branch meet again.

use crate::ptx::{Function, Instruction, Operand};

/// No meeting place inside the function: it is where the function returns to.
pub(crate) const RETURN: usize = usize::MAX;

/// For each instruction of a body, the instruction that all ways from it to the function's end pass first; itself not
/// counted. Only meaningful for branches.
pub(crate) fn post_dominators(function: &Function) -> Vec<usize> {
    let body = function.body.as_deref().unwrap_or(&[]);
    let end = body.len();
    let successors: Vec<Vec<usize>> =
        body.iter().enumerate().map(|(i, inst)| next(function, inst, i, end)).collect();
    let order = reverse_post_order(&successors, end);
    let mut rank = vec![usize::MAX; end + 1];
    order.iter().enumerate().for_each(|(r, node)| rank[*node] = r);
    // Cooper, Harvey and Kennedy's iteration, on the reversed graph with the end as its root.
    let mut dom = vec![usize::MAX; end + 1];
    dom[end] = end;
    let mut changed = true;
    while changed {
        changed = false;
        for &node in order.iter().skip(1) {
            let known = successors[node].iter().copied().filter(|s| dom[*s] != usize::MAX);
            let meet = known.reduce(|a, b| intersect(&dom, &rank, a, b));
            if let Some(meet) = meet
                && dom[node] != meet
            {
                dom[node] = meet;
                changed = true;
            }
        }
    }
    dom[..end].iter().map(|d| if *d >= end { RETURN } else { *d }).collect()
}

fn intersect(dom: &[usize], rank: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while rank[a] > rank[b] {
            a = dom[a];
        }
        while rank[b] > rank[a] {
            b = dom[b];
        }
    }
    a
}

fn next(function: &Function, inst: &Instruction, index: usize, end: usize) -> Vec<usize> {
    let clamp = |i: usize| i.min(end);
    let mut targets = Vec::new();
    let leaves = match inst.opcode.as_str() {
        "bra" | "brx" => {
            for op in &inst.operands {
                match op {
                    Operand::Label(to) => targets.push(clamp(*to)),
                    Operand::BranchTargets(list) => {
                        let all = function.branch_targets.get(*list).map_or(&[][..], Vec::as_slice);
                        targets.extend(all.iter().map(|t| clamp(*t)));
                    }
                    _ => {}
                }
            }
            true
        }
        "ret" | "exit" | "trap" => {
            targets.push(end);
            true
        }
        _ => false,
    };
    if !leaves || inst.guard.is_some() || targets.is_empty() {
        targets.push(index + 1);
    }
    targets.dedup();
    targets
}

/// Nodes in reverse post-order of the reversed graph, the end first; nodes that cannot reach the end are missing.
fn reverse_post_order(successors: &[Vec<usize>], end: usize) -> Vec<usize> {
    let mut predecessors = vec![Vec::new(); end + 1];
    for (node, list) in successors.iter().enumerate() {
        list.iter().for_each(|s| predecessors[*s].push(node));
    }
    let mut seen = vec![false; end + 1];
    let mut post = Vec::with_capacity(end + 1);
    let mut stack = vec![(end, 0)];
    seen[end] = true;
    while let Some((node, at)) = stack.pop() {
        match predecessors[node].get(at) {
            Some(&p) => {
                stack.push((node, at + 1));
                if !seen[p] {
                    seen[p] = true;
                    stack.push((p, 0));
                }
            }
            None => post.push(node),
        }
    }
    post.reverse();
    post
}
