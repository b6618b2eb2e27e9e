//! From a line of PTX to the lines of CUDA that it came from, by the `.loc` directives of `-lineinfo`.

use std::collections::BTreeSet;

/// For each line of the PTX (index 0 is line 1), the lines of the source file: its own and those of the calls that
/// were inlined.
pub fn cuda_lines(ptx: &str, source: &str) -> Vec<BTreeSet<u32>> {
    let file = ptx.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some(".file");
        let index = words.next()?;
        (is_it && words.next() == Some(&format!("\"{source}\""))).then(|| index.to_owned())
    });
    let mut now = BTreeSet::new();
    ptx.lines()
        .map(|line| {
            if let Some(rest) = line.trim_start().strip_prefix(".loc") {
                now = places(rest).filter(|(f, _)| Some(f) == file.as_ref()).map(|(_, l)| l).collect();
            }
            now.clone()
        })
        .collect()
}

/// `1 12 3` or `2 66 3, function_name $L__info_string0, inlined_at 1 8 5`: file and line of each place.
fn places(loc: &str) -> impl Iterator<Item = (String, u32)> {
    let own = loc.split(',').next().map(str::to_owned);
    let calls: Vec<String> = loc.split("inlined_at").skip(1).map(str::to_owned).collect();
    own.into_iter().chain(calls).filter_map(|place| {
        let mut words = place.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    })
}

/// Lines of a CUDA text that carry the mark.
pub fn marked(source: &str) -> BTreeSet<u32> {
    (1..).zip(source.lines()).filter(|(_, line)| line.contains("// FAULT")).map(|(n, _)| n).collect()
}

#[test]
fn inlined_calls_lead_to_the_line_of_the_call() {
    let ptx = ".loc\t1 4 0\nmov\n.loc\t2 66 3, function_name $L__info_string0, inlined_at 1 8 5\nst\n.file 1 \"a.cu\"\n.file 2 \"b.cuh\"\n";
    let lines = cuda_lines(ptx, "a.cu");
    assert_eq!(lines[1], BTreeSet::from([4]));
    assert_eq!(lines[3], BTreeSet::from([8]));
    assert_eq!(cuda_lines(ptx, "b.cuh")[3], BTreeSet::from([66]));
}
