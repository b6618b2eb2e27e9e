//! Products of a warpgroup, one instruction a width and a format.

use crate::kernel::Elem;
use std::fmt::Write as _;

/// Rows of one product.
pub const ROWS: usize = 64;

/// `warpgroup_product`: `sum = a · bᵀ`, plus `sum` where `keep`, over 64 rows, `n` columns and 32 bytes of k. Both
/// operands are K-major in shared memory, given by their descriptors.
///
/// # Panics
/// Where no instruction has this width or format.
pub fn product(n: usize, elem: Elem) -> String {
    assert!(n.is_multiple_of(8) && (8..=256).contains(&n), "a product of {n} columns");
    assert!(elem != Elem::F32, "a product of {elem}");
    let (sums, k) = (n / 2, 32 / elem.bytes());
    let mut text = format!(
        "// sum = a * b^T (+ sum where `keep`): {ROWS} rows, {n} columns, {k} of k; asynchronous.\n\
         __device__ inline void warpgroup_product(float (&sum)[{sums}], unsigned long long a, \
         unsigned long long b,\n{:41}bool keep) {{\n    asm volatile(\n",
        ""
    );
    let predicate = sums + 2;
    let _ = writeln!(text, "        \"{{\\n\\t.reg .pred p;\\n\\tsetp.ne.u32 p, %{predicate}, 0;\\n\\t\"");
    let shape = format!("m{ROWS}n{n}k{k}.f32.{elem}.{elem}");
    let _ = writeln!(text, "        \"wgmma.mma_async.sync.aligned.{shape} {{\"");
    let rows = |per: usize| (0..sums).step_by(per).map(move |at| at..(at + per).min(sums));
    for row in rows(16) {
        let last = row.end == sums;
        let names: Vec<String> = row.map(|i| format!("%{i}")).collect();
        let _ = writeln!(text, "        \"{}{}\"", names.join(", "), if last { "}, " } else { ", " });
    }
    // Operands of 16 bits might also be transposed.
    let signs = if elem.bytes() == 2 { "1, 1, 0, 0" } else { "1, 1" };
    let _ = writeln!(text, "        \"%{sums}, %{}, p, {signs};\\n\\t}}\"", sums + 1);
    for row in rows(8) {
        let (first, last) = (row.start == 0, row.end == sums);
        let names: Vec<String> = row.map(|i| format!("\"+f\"(sum[{i}])")).collect();
        let _ = writeln!(
            text,
            "        {} {}{}",
            if first { ":" } else { " " },
            names.join(", "),
            if last { "" } else { "," }
        );
    }
    text.push_str("        : \"l\"(a), \"l\"(b), \"r\"(static_cast<int>(keep)));\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_names_each_of_its_operands_once() {
        for n in [8, 24, 64, 256] {
            let text = product(n, Elem::Bf16);
            assert!(text.contains(&format!("m64n{n}k16.f32.bf16.bf16 ")), "{text}");
            for i in 0..n / 2 {
                assert_eq!(text.matches(&format!("(sum[{i}])")).count(), 1, "{text}");
                let name = |c: &str| text.matches(&format!("%{i}{c}")).count();
                assert_eq!(name(",") + name("}"), 1, "%{i} in {text}");
            }
            assert_eq!(text.matches("\"+f\"").count(), n / 2);
        }
    }

    #[test]
    #[should_panic(expected = "a product of 12 columns")]
    fn a_width_that_no_instruction_has_is_a_fault() {
        product(12, Elem::F16);
    }
}
