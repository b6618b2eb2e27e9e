//! Instructions, operands, scopes. That these forms are PTX was tried with ptxas 13.5.

use jet_emu::ptx::{AddressBase, Operand, ParamStorage, RegId, Space, Type};

use super::{last, normal, printed, read, with_header};

#[test]
fn modifiers_stay_words_in_their_order() {
    let module = read(
        "",
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];",
    );
    let instruction = &last(&module).body.as_ref().expect("a body")[0];
    assert_eq!(instruction.opcode, "cp");
    let words =
        ["async", "bulk", "tensor", "2d", "shared::cluster", "global", "mbarrier::complete_tx::bytes"];
    assert_eq!(instruction.modifiers, words);
    assert_eq!(instruction.line, 6);
}

#[test]
fn operands_of_every_kind() {
    let cases = [
        ("add.s32 %r1, %r2, -1;", "add.s32 %r1, %r2, -1;"),
        ("add .s32 %r1 , %r2,%r3 ;", "add.s32 %r1, %r2, %r3;"),
        ("mov.b32 {%rs1, _}, %r2;", "mov.b32 {%rs1, _}, %r2;"),
        ("mov.b32 {_, %rs1}, %r2;", "mov.b32 {_, %rs1}, %r2;"),
        ("elect.sync _|%p1, 0xffffffff;", "elect.sync _|%p1, 4294967295;"),
        ("shfl.sync.bfly.b32 %r4|%p1,%r5,4,31,-1;", "shfl.sync.bfly.b32 %r4|%p1, %r5, 4, 31, -1;"),
        (
            "setp.eq.and.f32 %p1|%p2, %f1, 0f3f800000, !%p3;",
            "setp.eq.and.f32 %p1|%p2, %f1, 0f3F800000, !%p3;",
        ),
        ("ld.global.u32 %r1, [ %rd7 + 0 ];", "ld.global.u32 %r1, [%rd7];"),
        ("ld.global.u32 %r1, [%rd3+-4];", "ld.global.u32 %r1, [%rd3+-4];"),
        ("ld.global.u32 %r1, [%rd3+2*(3+1)];", "ld.global.u32 %r1, [%rd3+8];"),
        ("ld.shared.u32 %r1, [16];", "ld.shared.u32 %r1, [16];"),
        ("ld.shared.u32 %r1, [s+4+8];", "ld.shared.u32 %r1, [s+12];"),
        ("mov.u32 %r1, s+16;", "mov.u32 %r1, s+16;"),
        ("mov.u32 %r1, s;", "mov.u32 %r1, s;"),
        ("mov.u32 %r1, %tid.x;", "mov.u32 %r1, %tid.x;"),
        ("mov.u32 %r1, %tid .x;", "mov.u32 %r1, %tid.x;"),
        ("mov.u64 %rd1, %pm7_64;", "mov.u64 %rd1, %pm7_64;"),
        ("add.u32 %r1, %r2, WARP_SZ;", "add.u32 %r1, %r2, WARP_SZ;"),
        ("add.u32 %r1, %r2, WARP_SZ-1;", "add.u32 %r1, %r2, 31;"),
        ("@!%p1 ret;", "@!%p1 ret;"),
        ("@ ! %p1\n ret;", "@!%p1 ret;"),
        ("add.f32 %f1, %f2, 0F40000000;", "add.f32 %f1, %f2, 0f40000000;"),
        ("add.f64 %rd1, %rd2, -1.5;", "add.f64 %rd1, %rd2, 0dBFF8000000000000;"),
        ("add.f64 %rd1, %rd2, 0d3ff0000000000000;", "add.f64 %rd1, %rd2, 0d3FF0000000000000;"),
        ("st.global.v2.b32 [%rd1], {%r2, 0f3F800000};", "st.global.v2.b32 [%rd1], {%r2, 0f3F800000};"),
        (
            "cp.async.ca [%r1], [%rd1, {%r2}, {%rs1, %rs2}];",
            "cp.async.ca [%r1], [%rd1, {%r2}, {%rs1, %rs2}];",
        ),
        ("bar.sync 0;", "bar.sync 0;"),
        ("membar.gl;", "membar.gl;"),
    ];
    for (written, expected) in cases {
        assert_eq!(normal(".shared .align 4 .b8 s[64];", written), expected, "{written}");
    }
}

#[test]
fn constant_expressions_follow_the_rules_of_the_isa() {
    let cases: [(&str, u64); 27] = [
        ("010", 8),
        ("0b101", 5),
        ("0XfF", 255),
        ("7U", 7),
        ("(3+4)*2", 14),
        ("3+4*2", 11),
        ("1<<4|3", 19),
        ("10-3-2", 5),
        ("-7/2", (-3_i64) as u64),
        ("-7%4", (-3_i64) as u64),
        ("-7/2U", 0x7FFF_FFFF_FFFF_FFFC),
        ("-1>>1", u64::MAX),
        ("(.u64)-1>>1", u64::MAX >> 1),
        ("-1 < 1", 1),
        ("-1 < 1U", 0),
        ("3 > 2 ? 7 : 8", 7),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("!0", 1),
        ("~0", u64::MAX),
        ("-9223372036854775808", 1 << 63),
        ("18446744073709551615", u64::MAX),
        ("1 == 1 && 2 != 2", 0),
        ("5 ^ 1 & 3", 4),
        ("1.5 < 2", 1),
        ("WARP_SZ*2", 64),
        ("(-9223372036854775807-1)/-1", 1 << 63),
        ("1 || 0", 1),
    ];
    for (written, value) in cases {
        let module = read("", &format!("mov.b64 %rd1, {written};"));
        let operand = &last(&module).body.as_ref().expect("a body")[0].operands[1];
        assert_eq!(*operand, Operand::Integer(value), "{written}");
    }
}

#[test]
fn decimal_floats_are_the_nearest_doubles() {
    for (written, value) in
        [("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e5", 1e5), ("2.5e-3", 0.0025), ("1.5+2", 3.5)]
    {
        let module = read("", &format!("mov.f64 %rd1, {written};"));
        let operand = &last(&module).body.as_ref().expect("a body")[0].operands[1];
        assert_eq!(*operand, Operand::F64(f64::to_bits(value)), "{written}");
    }
}

#[test]
fn inner_registers_shadow_outer_ones() {
    let module = read("", "setp.eq.s32 %p1, %r1, 0; { .reg .pred %p1; setp.ne.s32 %p1, %r1, 0; } @%p1 ret;");
    let body = last(&module).body.as_ref().expect("a body");
    let outer = RegId(1);
    assert_eq!(body[0].operands[0], Operand::Register(outer));
    let Operand::Register(inner) = body[1].operands[0] else { panic!("{:?}", body[1]) };
    assert_ne!(inner, outer);
    assert_eq!(last(&module).registers[inner.0 as usize].name, "%p1");
    assert_eq!(body[2].guard.expect("a guard").register, outer);
}

#[test]
fn labels_belong_to_their_block_and_may_stand_before_its_brace() {
    let module = read(
        "",
        "{ .reg .pred complete;\nwaitLoop: test.x complete, 1;\n@!complete bra.uni waitLoop;\n}\n\
         { .reg .pred complete;\nwaitLoop: test.x complete, 2;\n@!complete bra waitLoop;\n@complete bra DONE; bra out;\nDONE: }\n\
         out: {ret;}\nend:",
    );
    let function = last(&module);
    let body = function.body.as_ref().expect("a body");
    assert_eq!(body[1].operands, [Operand::Label(0)]);
    assert_eq!(body[3].operands, [Operand::Label(2)]);
    assert_eq!(body[4].operands, [Operand::Label(6)], "a label before a brace is the next instruction");
    assert_eq!(body[5].operands, [Operand::Label(6)]);
    let places: Vec<(&str, usize)> = function.labels.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    assert_eq!(places, [("waitLoop", 0), ("waitLoop", 2), ("DONE", 6), ("out", 6), ("end", 7)]);
}

#[test]
fn braces_may_touch_the_text() {
    let module = read("", "{fma.rn.f16 %rs2,%rs3,%rs4,%rs5;\n}{ .reg .b64 %tmp; mov.b64 %tmp, %rd1; }");
    assert_eq!(printed(&module), ["fma.rn.f16 %rs2, %rs3, %rs4, %rs5;", "mov.b64 %tmp, %rd1;"]);
}

#[test]
fn vector_registers_are_their_components() {
    let module = read(
        "",
        ".reg .v4 .f32 %v; .reg .v2 .b32 w<3>; mov.f32 %v.x, %v.w; ld.global.v4.f32 %v, [%rd1]; mov.b32 w2.y, w0.r;",
    );
    assert_eq!(
        printed(&module),
        ["mov.f32 %v.x, %v.w;", "ld.global.v4.f32 {%v.x, %v.y, %v.z, %v.w}, [%rd1];", "mov.b32 w2.y, w0.x;"]
    );
    let names: Vec<&str> =
        last(&module).registers.iter().rev().take(6).map(|register| register.name.as_str()).collect();
    assert_eq!(names, ["w2.y", "w2.x", "w1.y", "w1.x", "w0.y", "w0.x"]);
}

#[test]
fn a_range_declares_as_many_registers_as_it_says() {
    let module = read("", ".reg .b32 x<3>, y; .reg .f64 z; mov.b32 x2, y;");
    let declared: Vec<(&str, Type)> = last(&module)
        .registers
        .iter()
        .skip(40)
        .map(|register| (register.name.as_str(), register.ty))
        .collect();
    let expected = [
        ("x0", Type::B(32)),
        ("x1", Type::B(32)),
        ("x2", Type::B(32)),
        ("y", Type::B(32)),
        ("z", Type::F(64)),
    ];
    assert_eq!(declared, expected);
}

#[test]
fn calls_have_one_form() {
    let functions = ".func (.reg .b32 o) f(.reg .b32 a) { mov.b32 o, a; ret; } .func g() { ret; }";
    let cases = [
        ("call.uni (%r1),\n f,\n (\n %r2\n );", "call.uni (%r1), f, (%r2);", 3),
        ("call (_), f, (5);", "call (_), f, (5);", 3),
        ("call g;", "call g, ();", 3),
        ("call g, ();", "call g, ();", 3),
        (
            "pr: .callprototype (.param .b32 _) _ (.param .align 8 .b8 _[12], .reg .b64 _); call (%r1), %rd1, (%r2, %rd2), pr;",
            "call (%r1), %rd1, (%r2, %rd2), prototype_0;",
            4,
        ),
        ("pr: .callprototype _ () .noreturn; call %rd1, pr;", "call %rd1, (), prototype_0;", 4),
        ("ts: .calltargets f; call (%r1), %rd1, (%r2), ts;", "call (%r1), %rd1, (%r2), prototype_0;", 4),
    ];
    for (written, expected, operands) in cases {
        let module = read(functions, written);
        assert_eq!(printed(&module).join(" "), expected, "{written}");
        assert_eq!(last(&module).body.as_ref().expect("a body")[0].operands.len(), operands, "{written}");
    }
}

#[test]
fn prototypes_know_the_sizes_of_what_is_passed() {
    let module = read(
        ".func (.reg .b32 o) f(.param .b64 a, .param .align 4 .b8 b[20]) { ret; }",
        "pr: .callprototype (.param .b32 _) _ (.param .align 8 .b8 _[12], .reg .b64 _);\n ts: .calltargets f;\n mov.u64 %rd1, f;",
    );
    let prototypes = &last(&module).prototypes;
    assert_eq!((prototypes[0].returns.as_slice(), prototypes[0].params.as_slice()), (&[4][..], &[12, 8][..]));
    assert_eq!((prototypes[1].returns.as_slice(), prototypes[1].params.as_slice()), (&[4][..], &[8, 20][..]));
    assert_eq!(prototypes[1].targets.len(), 1);
    let body = last(&module).body.as_ref().expect("a body");
    assert_eq!(body[0].operands[1], Operand::Function(prototypes[1].targets[0]));
}

#[test]
fn branch_targets_are_instructions() {
    let module = read("", "ts: .branchtargets A, B, A; brx.idx %r1, ts; A: ret; B: exit;");
    assert_eq!(last(&module).branch_targets, [vec![1, 2, 1]]);
    let body = last(&module).body.as_ref().expect("a body");
    assert_eq!(body[0].operands[1], Operand::BranchTargets(0));
}

#[test]
fn an_alias_is_the_function_it_stands_for() {
    let text = with_header(
        ".visible .func al();\n.visible .func g() { ret; }\n.entry k() { .reg .b64 %x; call al; mov.u64 %x, al; ret; }\n\
         .global .u64 table[2] = {al, g};\n.alias al, g;",
    );
    let module = jet_emu::ptx::parse(&text).expect("this is PTX");
    let named = |name: &str| module.functions.iter().position(|f| f.name == name).expect("declared") as u32;
    let body = module.functions[named("k") as usize].body.as_ref().expect("a body");
    assert_eq!(body[0].operands[1], Operand::Function(jet_emu::ptx::FunctionId(named("g"))));
    assert_eq!(body[1].operands[1], body[0].operands[1]);
    let table = module.variables.iter().find(|v| v.name == "table").expect("declared");
    assert_eq!(table.relocations[0].target, table.relocations[1].target);
}

#[test]
fn a_function_declared_before_it_is_defined_is_one_function() {
    let text = with_header(
        ".func (.param .b32 r) f(.param .b32 a, .param .align 8 .b8 s[16]);\n.extern .func ext(.param .b64 p);\n\
         .func (.param .b32 ret0) f(.param .b32 x, .param .align 8 .b8 y[16]) .noreturn { .reg .b32 %a; ld.param.b32 %a, [x]; ret; }",
    );
    let module = jet_emu::ptx::parse(&text).expect("this is PTX");
    assert_eq!(module.functions.len(), 2);
    assert!(module.functions[1].body.is_none());
    let function = &module.functions[0];
    assert!(function.bounds.noreturn && !function.entry);
    let ParamStorage::Memory(id) = function.params[0].storage else { panic!("in memory") };
    let variable = &module.variables[id.0 as usize];
    assert_eq!((variable.name.as_str(), variable.space, variable.size), ("x", Space::Param, 4));
    let body = function.body.as_ref().expect("a body");
    assert_eq!(body[0].operands[1], Operand::Address(AddressBase::Symbol(id), 0));
    assert_eq!(module.variables.iter().filter(|v| v.function.is_some()).count(), 4, "each parameter once");
}

#[test]
fn launch_bounds_are_read_in_every_spelling() {
    let text = with_header(
        ".entry a() .maxntid 128 .minnctapersm 2 .maxnreg 64 { ret; }\n\
         .entry b(.param .u64 .ptr .global .align 1 p) .reqntid 32, 4 .explicitcluster .reqnctapercluster 2, 1, 1 .maxclusterrank 8\n\
         .pragma \"nounroll\"; { ret; }",
    );
    let module = jet_emu::ptx::parse(&text).expect("this is PTX");
    let (a, b) = (&module.functions[0].bounds, &module.functions[1].bounds);
    assert_eq!(
        (a.maxntid, a.minnctapersm, a.maxnreg, a.reqntid),
        (Some([128, 1, 1]), Some(2), Some(64), None)
    );
    assert_eq!(
        (b.reqntid, b.explicitcluster, b.reqnctapercluster),
        (Some([32, 4, 1]), true, Some([2, 1, 1]))
    );
    assert_eq!(b.maxclusterrank, Some(8));
    assert!(module.functions[1].params[0].ptr && module.functions[0].params.is_empty());
}

#[test]
fn source_places_stay_with_their_instructions() {
    let module = read(
        ".file 3 \"a \\\"b\\\".cu\", 12, 34",
        "mov.b32 %r1, 1;\n.loc 3 10 5\nmov.b32 %r1, 2;\n.loc 3 20 1, function_name $L__info_string0+4, inlined_at 3 10 5\nmov.b32 %r1, 3;\n\
         .pragma \"used_bytes_mask 0xf\";\nmov.b32 %r1, 4;",
    );
    let places: Vec<_> = last(&module).body.iter().flatten().map(|instruction| instruction.loc).collect();
    assert_eq!(places, [None, Some((3, 10, 5)), Some((3, 20, 1)), Some((3, 20, 1))]);
    assert_eq!(module.files, [(3, "a \"b\".cu".to_owned())]);
}

#[test]
fn debug_sections_are_gone_over_and_a_later_version_is_fine() {
    let text = ".version 12.10\n.target sm_999x, debug, texmode_independent\n.entry k() { ret; }\n\
                .section .debug_info { .b32 .debug_abbrev+4 .b8 1,2\n { } L: .b64 L }\n.section .debug_macinfo { }\n.file 1 \"x\"";
    let module = jet_emu::ptx::parse(text).expect("this is PTX");
    assert_eq!(module.version, (12, 10));
    assert_eq!(module.target, ["sm_999x", "debug", "texmode_independent"]);
    assert_eq!(module.address_size, 64);
}

#[test]
fn vectors_hold_as_many_registers_as_the_widest_accumulators() {
    let elements = |n: usize| vec!["%r1"; n].join(",");
    let module = read("", &format!("wgmma.x {{{}}}, %rd1;", elements(128)));
    let Operand::Vector(list) = &last(&module).body.as_ref().expect("a body")[0].operands[0] else {
        panic!("a vector")
    };
    assert_eq!(list.len(), 128);
}
