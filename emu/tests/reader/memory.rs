//! Variables, their sizes and initial bytes.

use jet_emu::ptx::{Module, RelocationTarget, Space, SymbolId, Type, Variable, parse};

use super::{read, show, with_header};

fn module(text: &str) -> Module {
    let text = with_header(text);
    parse(&text).unwrap_or_else(|errors| panic!("{}", show(&errors, &text)))
}

fn variable<'m>(module: &'m Module, name: &str) -> &'m Variable {
    module.variables.iter().find(|variable| variable.name == name).expect("declared")
}

#[test]
fn sizes_and_alignments_are_natural_unless_said() {
    let m = module(
        ".global .u32 a, b[3][5], c = 5;\n.shared .align 1024 .b8 d[2048];\n.const .v4 .f32 e[2];\n.extern .shared .align 16 .b8 f[];\n\
         .global .align 1 .u8 g;\n.local .f64 h;\n.global .attribute(.managed) .align 8 .b32 i;\n.global .b128 j;",
    );
    let facts: Vec<(u64, u32, bool)> = "abcdefghij"
        .chars()
        .map(|c| variable(&m, &c.to_string()))
        .map(|v| (v.size, v.align, v.external))
        .collect();
    let expected = [
        (4, 4, false),
        (60, 4, false),
        (4, 4, false),
        (2048, 1024, false),
        (32, 16, false),
        (0, 16, true),
        (1, 1, false),
        (8, 8, false),
        (4, 8, false),
        (16, 16, false),
    ];
    assert_eq!(facts, expected);
    assert_eq!(variable(&m, "c").init, [5, 0, 0, 0]);
    assert_eq!((variable(&m, "e").space, variable(&m, "e").ty), (Space::Const, Type::F(32)));
}

#[test]
fn initial_values_are_bytes_with_missing_tails_left_out() {
    let m = module(
        ".global .u16 a[4] = {1, -2, 0x1FFFF};\n.global .u8 b[2][3] = {{1}, {4, 5}};\n.const .f32 c[3] = {1.0, -0.5, 0f3F800000};\n\
         .global .f64 d = 0d3FF0000000000000;\n.global .v2 .u32 e[2] = {{1, 2}, {3}};\n.global .f32 f = 0d3FF8000000000000;\n\
         .global .b128 g = -1;\n.global .s64 h[] = {1, 2};\n.global .b32 i = 3 * (1 + 1);",
    );
    assert_eq!(variable(&m, "a").init, [1, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    assert_eq!(variable(&m, "b").init, [1, 0, 0, 4, 5]);
    assert_eq!(variable(&m, "c").init, [[0, 0, 128, 63], [0, 0, 0, 191], [0, 0, 128, 63]].concat());
    assert_eq!(variable(&m, "d").init, 1.0_f64.to_le_bytes());
    assert_eq!(variable(&m, "e").init, [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(variable(&m, "f").init, 1.5_f32.to_le_bytes());
    assert_eq!(variable(&m, "g").init, [255; 16]);
    assert_eq!(
        (variable(&m, "h").size, variable(&m, "h").init.len(), variable(&m, "h").external),
        (16, 16, false)
    );
    assert_eq!(variable(&m, "i").init, [6, 0, 0, 0]);
}

#[test]
fn strings_are_bytes() {
    let m = module(
        ".global .b8 a[6] = \"ab\\n\";\n.global .u8 b[] = \"ab\";\n.const .b8 c[2][4] = {\"abc\", \"d\"};",
    );
    assert_eq!(variable(&m, "a").init, b"ab\n");
    assert_eq!((variable(&m, "b").size, variable(&m, "b").init.as_slice()), (3, &b"ab\0"[..]));
    assert_eq!(variable(&m, "c").init, b"abc\0d");
}

#[test]
fn addresses_in_initial_values_are_relocations() {
    let m = module(
        ".global .u32 x[4];\n.func f() { ret; }\n.global .u64 a[5] = {7, x, x+8, generic(x)+4, f};\n\
         .global .u8 b[3] = {0xff(x), 0xff00(generic(x)+4), 9};\n.global .u32 c = x;",
    );
    let x = RelocationTarget::Symbol(SymbolId(0));
    let function = RelocationTarget::Function(jet_emu::ptx::FunctionId(0));
    let facts = |name: &str| -> Vec<_> {
        let relocations = variable(&m, name).relocations.iter();
        relocations.map(|r| (r.at, r.width, r.target, r.addend, r.generic, r.mask)).collect()
    };
    let expected = [
        (8, 8, x, 0, false, 0),
        (16, 8, x, 8, false, 0),
        (24, 8, x, 4, true, 0),
        (32, 8, function, 0, false, 0),
    ];
    assert_eq!(facts("a"), expected);
    assert_eq!(variable(&m, "a").init, [&[7][..], &[0; 39]].concat());
    assert_eq!(facts("b"), [(0, 1, x, 0, false, 0xff), (1, 1, x, 4, true, 0xff00)]);
    assert_eq!(variable(&m, "b").init, [0, 0, 9]);
    assert_eq!(facts("c"), [(0, 4, x, 0, false, 0)]);
}

#[test]
fn variables_of_a_body_belong_to_its_function_and_block() {
    let m = read(
        "",
        ".shared .align 8 .u64 bar; { .param .b32 param0; st.param.b32 [param0], %r1; } { .param .b32 param0; }",
    );
    let own: Vec<(&str, Space)> =
        m.variables.iter().filter(|v| v.function.is_some()).map(|v| (v.name.as_str(), v.space)).collect();
    assert_eq!(
        own,
        [("k_a", Space::Param), ("bar", Space::Shared), ("param0", Space::Param), ("param0", Space::Param)]
    );
}

#[test]
fn what_is_declared_elsewhere_may_be_defined_here_and_what_is_weak_twice() {
    let m = module(
        ".extern .global .u32 a;\n.visible .global .u32 a = 5;\n.weak .global .b32 b = 1;\n.weak .global .b32 b = 2;\n\
         .common .global .b32 c;\n.extern .global .u8 d[];\n.extern .global .u8 d[];",
    );
    assert_eq!(m.variables.len(), 4);
    assert_eq!((variable(&m, "a").init.as_slice(), variable(&m, "a").external), (&[5, 0, 0, 0][..], false));
    assert_eq!(variable(&m, "b").init, [1, 0, 0, 0], "the first of the weak ones stays");
}
