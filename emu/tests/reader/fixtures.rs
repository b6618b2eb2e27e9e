//! Texts of real compilers.

use std::path::{Path, PathBuf};

use jet_emu::ptx::{Function, Module, Operand, ParamStorage, Space, parse};

use super::show;

/// All PTX under the fixtures, in the order of their names.
pub(crate) fn all() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), &mut found);
    found.sort();
    assert!(found.len() >= 9, "the fixtures are missing");
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of fixtures") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "ptx") {
            let text = std::fs::read_to_string(&path).expect("a text");
            found.push((path, text));
        }
    }
}

fn read(name: &str) -> Module {
    let (_, text) =
        all().into_iter().find(|(path, _)| path.ends_with(format!("reader/{name}"))).expect("a fixture");
    parse(&text).unwrap_or_else(|errors| panic!("{}", show(&errors, &text)))
}

fn function<'m>(module: &'m Module, name: &str) -> &'m Function {
    module.functions.iter().find(|function| function.name == name).expect("a function of this name")
}

#[test]
fn every_fixture_is_read_with_as_many_instructions_as_it_has() {
    for (path, text) in all() {
        let module =
            parse(&text).unwrap_or_else(|errors| panic!("{}: {}", path.display(), show(&errors, &text)));
        let read: usize =
            module.functions.iter().filter_map(|function| function.body.as_ref()).map(Vec::len).sum();
        assert_eq!(read, count_instructions(&text), "{}", path.display());
    }
}

/// Semicolons that end no directive: a count that knows nothing of the grammar, only how compilers lay out their lines.
fn count_instructions(text: &str) -> usize {
    let ends_itself = [".loc", ".file", ".version", ".target", ".address_size"];
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
    let code: Vec<&str> =
        lines.filter(|line| !ends_itself.iter().any(|word| line.starts_with(word))).collect();
    let code = code.join("\n");
    let code = code.split(".section").next().unwrap_or("");
    let mut statements: Vec<&str> = code.split(';').collect();
    statements.pop();
    let counted = statements.into_iter().filter(|statement| {
        // Before the statement itself stand a signature, labels and the braces of blocks, each at the end of a line.
        let begin =
            ["{\n", "}\n", ":\n"].iter().filter_map(|end| statement.rfind(end).map(|at| at + 2)).max();
        let own = statement[begin.unwrap_or(0)..].trim_start_matches(|c: char| c == '{' || c.is_whitespace());
        !own.starts_with('.')
            && !own.contains(".callprototype")
            && !own.contains(".branchtargets")
            && !own.is_empty()
    });
    counted.count()
}

#[test]
fn virtual_tables_and_recursion() {
    for name in
        ["calls.sm_90a.nvrtc-12.9.ptx", "calls.sm_100a.nvrtc-13.5.ptx", "calls.sm_90a.debug.nvrtc-13.5.ptx"]
    {
        let module = read(name);
        let table = module.variables.iter().find(|v| v.name == "_ZTV6Square").expect("a table");
        assert_eq!((table.space, table.size, table.relocations.len()), (Space::Global, 32, 2), "{name}");
        let fibonacci = function(&module, "_Z9fibonaccii");
        let id = module.functions.iter().position(|f| f.name == fibonacci.name).expect("listed") as u32;
        let own = Operand::Function(jet_emu::ptx::FunctionId(id));
        let calls =
            fibonacci.body.iter().flatten().filter(|i| i.opcode == "call" && i.operands[1] == own).count();
        assert!((1..=2).contains(&calls), "{name}: one of the two may have become a loop");
        assert!(function(&module, "vprintf").body.is_none());
        let kernel = function(&module, "calls");
        assert!(kernel.entry);
        let indirect: Vec<_> =
            kernel.body.iter().flatten().filter(|i| i.opcode == "call" && i.operands.len() == 4).collect();
        assert!(indirect.len() >= 2, "{name}");
        for call in indirect {
            let [
                Operand::List(returns),
                Operand::Register(_),
                Operand::List(arguments),
                Operand::Prototype(index),
            ] = call.operands.as_slice()
            else {
                panic!("{name}: {call:?}")
            };
            let prototype = &kernel.prototypes[*index];
            assert_eq!(
                (returns.len(), arguments.len()),
                (prototype.returns.len(), prototype.params.len()),
                "{name}"
            );
        }
    }
}

#[test]
fn kernel_parameters_have_the_layout_of_their_types() {
    let module = read("calls.sm_90a.nvrtc-12.9.ptx");
    let kernel = function(&module, "calls");
    let layout: Vec<(u64, u32)> = kernel
        .params
        .iter()
        .map(|param| match param.storage {
            ParamStorage::Memory(id) => {
                (module.variables[id.0 as usize].size, module.variables[id.0 as usize].align)
            }
            ParamStorage::Register(_) => panic!("a kernel's parameters are in memory"),
        })
        .collect();
    // Pair {float, double, char, short[3]}, Small {3 bytes}, two pointers, bool, int.
    assert_eq!(layout, [(24, 8), (3, 1), (8, 8), (8, 8), (1, 1), (4, 4)]);
}

#[test]
fn constants_keep_the_bytes_of_their_source() {
    for name in ["memory.sm_80.nvrtc-12.9.ptx", "memory.sm_120a.nvrtc-13.5.ptx"] {
        let module = read(name);
        let variable = |name: &str| module.variables.iter().find(|v| v.name == name).expect("declared");
        let expected: Vec<u8> =
            [1.0_f32, -2.5, 3.25, 0.0, 1e-30, 7.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(variable("coefficients").init, expected);
        assert_eq!(variable("coefficients").size, 32);
        assert_eq!(&variable("message").init[..], &b"quoted \"text\" \\ with\ttabs"[..25]);
        assert_eq!(variable("inside").relocations[0].addend, 32);
        assert!(variable("where").relocations[0].generic);
        assert_eq!(
            (variable("dynamic").external, variable("dynamic").align, variable("dynamic").size),
            (true, 1024, 0)
        );
        let records: Vec<(u64, i64)> =
            variable("records").relocations.iter().map(|r| (r.at, r.addend)).collect();
        assert_eq!(records, [(8, 0), (40, 8)]);
    }
}

#[test]
fn inline_assembly_keeps_its_own_registers_and_labels() {
    let module = read("assembly.sm_90a.nvrtc-13.5.ptx");
    let kernel = function(&module, "assembly");
    let waits: Vec<usize> =
        kernel.labels.iter().filter(|(name, _)| name == "waitLoop").map(|(_, at)| *at).collect();
    let body = kernel.body.as_ref().expect("a body");
    let branches: Vec<&Operand> =
        body.iter().filter(|i| i.opcode == "bra" && i.modifiers == ["uni"]).map(|i| &i.operands[0]).collect();
    assert_eq!(
        branches,
        waits.iter().map(|at| Operand::Label(*at)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    assert_eq!(waits.len(), 2);
    assert!(kernel.registers.iter().filter(|register| register.name == "%p1").count() >= 4);
    assert!(body.iter().filter(|i| i.loc.is_some()).count() > 40);
}

#[test]
fn hopper_kernels_have_clusters_and_coordinates() {
    for name in ["hopper.sm_90a.nvrtc-13.5.ptx", "hopper.sm_90a.debug.nvrtc-12.9.ptx"] {
        let module = read(name);
        let kernel = function(&module, "hopper");
        assert_eq!(kernel.bounds.reqnctapercluster, Some([2, 1, 1]));
        assert_eq!(kernel.bounds.maxntid, Some([128, 1, 1]));
        let tensor =
            kernel.body.iter().flatten().find(|i| i.modifiers.iter().any(|m| m == "tensor")).expect("a copy");
        let Operand::AddressList(list) = &tensor.operands[1] else { panic!("{tensor:?}") };
        assert!(
            matches!(list.as_slice(), [Operand::Address(_, 0), Operand::Vector(c)] if c.len() == 2),
            "{list:?}"
        );
    }
}
