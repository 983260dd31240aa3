//! Spaces against published counts.

use netfit_spaces::{Block, Random, Space};

/// Parameters and multiply-adds of all 6,561 networks of the published benchmark.
#[test]
fn nas_bench_macro_counts_agree_with_the_benchmark() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let mut rows = 0;
    for line in include_str!("data/nas-bench-macro.csv").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let network = space.network(&space.parse(cells[0]).unwrap());
        assert_eq!(
            network.parameters().0,
            cells[6].parse::<u64>().unwrap(),
            "parameters of {}",
            cells[0]
        );
        assert_eq!(
            network.multiply_adds().0,
            cells[7].parse::<u64>().unwrap(),
            "multiply-adds of {}",
            cells[0]
        );
        rows += 1;
    }
    assert_eq!(rows, 6561);
}

#[test]
fn enumeration_visits_every_network_once() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let words: std::collections::BTreeSet<String> =
        space.enumerate().map(|g| g.to_string()).collect();
    assert_eq!(words.len(), 6561);
    assert!((space.log10_size() - 6561_f64.log10()).abs() < 1e-12);
}

/// Cai et al., ICLR 2020: about 2e19 networks per resolution; 60 kernel and 60 expansion inputs of the predictor.
#[test]
fn once_for_all_has_its_published_size() {
    let space = Space::preset("ofa-mbv3").unwrap();
    assert!((space.log10_size() - 19.3).abs() < 0.1, "{}", space.log10_size());
    assert_eq!(space.layers(), 20);
    assert_eq!(space.encoding_width(), 120);
    // 5 stages x (first, later layers) x 9 options, 2 blocks of the stem, 4 of the head.
    assert_eq!(space.distinct_blocks().len(), 96);
    assert_eq!(Space::preset("ofa-mbv3-multi").unwrap().encoding_width(), 125);
}

/// Cai et al., ICLR 2019: 6 MBConvs in each of 21 layers, and a skip in the 15 that keep their shape.
#[test]
fn proxyless_skips_only_layers_that_keep_their_shape() {
    let space = Space::preset("proxyless").unwrap();
    let sizes: Vec<usize> = space.choices().iter().map(|choice| choice.size).collect();
    let stage = [6, 7, 7, 7];
    assert_eq!(sizes, [&stage.repeat(5)[..], &[6]].concat());
    let size = 15.0 * 7_f64.log10() + 6.0 * 6_f64.log10();
    assert!((space.log10_size() - size).abs() < 1e-9, "{}", space.log10_size());
    assert_eq!(space.encoding_width(), 15 * 7 + 6 * 6);
    // 6 in each of the 6 first layers, 6 in the later ones of 5 stages; 2 blocks of the stem, 3 of the head.
    assert_eq!(space.distinct_blocks().len(), 11 * 6 + 5);
    let skipped = space.network(&space.smallest());
    assert_eq!(skipped.blocks().len(), 2 + 6 + 3);
    assert_eq!(skipped.blocks()[2].to_string(), "mbconv k3 m48 s2 relu6 16x112x112 -> 24x56x56");
    let largest = space.network(&space.largest());
    assert_eq!(largest.blocks().len(), 2 + 21 + 3);
    assert_eq!(largest.blocks()[3].to_string(), "mbconv k7 m144 s1 relu6 res 24x56x56 -> 24x56x56");
    // By hand: the first layer's choice is k5 e3, its second layer is skipped, the third is k3 e3.
    let word = format!("201{}", "0".repeat(18));
    let blocks = space.network(&space.parse(&word).unwrap());
    let lines: Vec<String> = blocks.blocks()[2..5].iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "mbconv k5 m48 s2 relu6 16x112x112 -> 24x56x56",
            "mbconv k3 m72 s1 relu6 res 24x56x56 -> 24x56x56",
            "mbconv k3 m72 s2 relu6 24x56x56 -> 40x28x28",
        ]
    );
    let small = Space::preset("proxyless-28").unwrap();
    let networks: std::collections::BTreeSet<String> = small
        .covering()
        .iter()
        .flat_map(|genotype| small.blocks(genotype))
        .map(|(slot, block)| format!("{slot} {block}"))
        .collect();
    assert_eq!(networks.len(), 8 * 6 + 5, "every block in every slot");
}

/// Tan et al., CVPR 2019, section 4.2: 4 ops, 2 kernels, 2 ratios of squeeze-and-excite, 3 skips, 3 numbers of filters
/// and 3 of layers are 432 options a block; a skip of a block of one layer is no choice.
#[test]
fn mnasnet_has_its_published_choices() {
    let space = Space::preset("mnasnet").unwrap();
    let sizes: Vec<usize> = space.choices().iter().map(|choice| choice.size).collect();
    let block = |depths: usize| [depths, 4, 2, 2, 3, 3];
    let depths = [2, 3, 3, 3, 3, 3, 2];
    assert_eq!(sizes, depths.map(block).concat());
    assert_eq!(block(3).iter().product::<usize>(), 432);
    // Blocks of 1 to 3 or 1 to 2 layers lose the skips of one layer: 48 of 3 x 48 options each.
    let size = |depths: usize, one: bool| {
        (48.0 * 3.0 * depths as f64 - if one { 48.0 * 2.0 } else { 0.0 }).log10()
    };
    let expected = 2.0 * size(2, true) + size(3, true) + 4.0 * size(3, false);
    assert!((space.log10_size() - expected).abs() < 1e-9, "{}", space.log10_size());
    assert_eq!(space.covering().len(), 144);
    // By hand: two layers of MBConv6 k5 with squeeze-and-excite and a pooled skip, 1.25 times the filters.
    let word = format!("{}131112{}", "000000", "0".repeat(30));
    let genotype = space.parse(&word).unwrap();
    let lines: Vec<String> =
        space.network(&genotype).blocks()[1..5].iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "conv k3 s1 relu6 32x112x112 -> 12x112x112",
            "mbconv k5 m72 s2 se24 relu6 12x112x112 -> 30x56x56",
            "mbconv k5 m184 s1 se48 relu6 respool 30x56x56 -> 30x56x56",
            "conv k3 s2 relu6 30x56x56 -> 24x28x28",
        ]
    );
    // The same with a residual, and a skip of one layer, which is none.
    let other = space.parse(&word.replacen("131112", "131122", 1)).unwrap();
    assert!(space.network(&other).blocks()[3].to_string().contains(" relu6 res 30x56x56"));
    let one = |skip: char| space.parse(&format!("0000{skip}0{}", "0".repeat(36))).unwrap();
    assert_eq!(one('2'), one('0'));
    let large = space.network(&space.largest());
    assert_eq!(large.blocks().len(), 1 + 2 + 3 + 4 + 5 + 4 + 4 + 2 + 3);
}

/// Equal networks have equal genotypes: every canonical genotype of a small space has a network of its own.
#[test]
fn genotypes_of_stages_of_alike_layers_are_canonical() {
    let mut spec = Space::preset("mnasnet-28").unwrap().spec().clone();
    spec.stages.truncate(2);
    for stage in &mut spec.stages {
        let alike = stage.alike.as_mut().unwrap();
        alike.ops.truncate(2);
        alike.kernel.truncate(1);
    }
    let space = Space::new(spec).unwrap();
    let networks: std::collections::BTreeSet<String> =
        space.enumerate().map(|genotype| space.network(&genotype).text()).collect();
    let count = space.enumerate().count();
    assert!((space.log10_size() - (count as f64).log10()).abs() < 1e-9);
    assert_eq!((networks.len(), count), (84 * 84, 84 * 84));
}

#[test]
fn wrong_stages_of_alike_layers_say_what_is_wrong() {
    let text = std::fs::read_to_string("spaces/presets/mnasnet-28.toml").unwrap();
    for (from, to, reason) in [
        ("\"pool\", \"identity\"", "\"identity\", \"pool\"", "in this order"),
        ("\"none\", ", "\"mean\", ", "unknown skip `mean`"),
        ("\"conv relu6\"", "\"linear\"", "among `ops`, found `linear`"),
        ("[0.75, 1.0, 1.25]", "[1.0, 0.75]", "ascending `filters`"),
        ("depth = [1, 2, 3]", "depth = [1]", "a `depth` above 1"),
        ("depth = [1, 2, 3]", "depth = [1, 2, 3]\nkernel = [3]", "either `alike`, or"),
        ("kernel = [3, 5]", "kernel = [3, 4]", "odd number"),
        ("\"conv relu6\"", "\"conv relu6\", \"conv  relu6\"", "`conv  relu6` twice"),
    ] {
        let changed = Space::from_toml("mine.toml", &text.replacen(from, to, 1));
        let message = changed.unwrap_err().to_string();
        assert!(message.contains(reason) && message.contains("stage 1"), "{to}: {message}");
    }
}

/// Every limit by itself is kept; nothing of such a size is built.
#[test]
fn spaces_beyond_all_machines_are_refused() {
    let mut spec = Space::preset("mnasnet-28").unwrap().spec().clone();
    let alike = spec.stages[0].alike.as_mut().unwrap();
    alike.filters = (1..=36).map(f64::from).collect();
    alike.kernel = (0..36).map(|half| 2 * half + 1).collect();
    let message = Space::new(spec).unwrap_err().to_string();
    assert!(message.contains("of at most 100,000, found "), "{message}");
    let mut spec = Space::preset("ofa-mbv3").unwrap().spec().clone();
    spec.resolutions = vec![224, 1 << 40];
    let message = Space::new(spec).unwrap_err().to_string();
    assert!(message.contains("`resolutions` from 1 to 1,048,576, found [224, "), "{message}");
    let line = "conv k3 s1 65536x1048576x1048576 -> 65536x1048576x1048576";
    let message = line.parse::<Block>().unwrap_err().to_string();
    assert!(message.contains("of at most 1,073,741,824 numbers"), "{message}");
}

#[test]
fn the_covering_set_holds_every_block() {
    for (preset, networks) in [
        ("ofa-mbv3", 9),
        ("ofa-28", 9),
        ("nas-bench-macro", 3),
        ("ofa-mbv3-multi", 45),
        ("proxyless", 6),
        ("mnasnet", 144),
        ("mnasnet-28", 144),
    ] {
        let space = Space::preset(preset).unwrap();
        let covering = space.covering();
        assert_eq!(covering.len(), networks, "{preset}");
        let mut seen = std::collections::BTreeSet::new();
        for genotype in &covering {
            seen.extend(space.network(genotype).blocks().iter().map(ToString::to_string));
        }
        let every = space.combinations().into_iter().flat_map(|g| space.blocks(&g));
        let missing: Vec<_> =
            every.map(|(_, block)| block).filter(|b| !seen.contains(&b.to_string())).collect();
        assert!(missing.is_empty(), "{preset}: {missing:?}");
    }
}

#[test]
fn genotypes_and_blocks_print_and_parse_back() {
    for preset in
        ["ofa-mbv3", "ofa-28", "nas-bench-macro", "ofa-mbv3-multi", "proxyless", "mnasnet"]
    {
        let space = Space::preset(preset).unwrap();
        let mut random = Random::new(1, "laws");
        let mut other = space.sample(&mut random);
        for _ in 0..200 {
            let mutated = space.mutate(&other, &mut random, |_| 0.3);
            for genotype in
                [space.sample(&mut random), space.crossover(&other, &mutated, &mut random), mutated]
            {
                assert_eq!(space.parse(&genotype.to_string()).unwrap(), genotype);
                let network = space.network(&genotype);
                assert_eq!(network.text().parse::<netfit_spaces::Network>().unwrap(), network);
                other = genotype;
            }
        }
    }
}

#[test]
fn inactive_layers_do_not_make_another_genotype() {
    let space = Space::preset("ofa-28").unwrap();
    let smallest = space.smallest();
    for (index, choice) in space.choices().iter().enumerate() {
        let mut word: Vec<char> = smallest.to_string().chars().collect();
        word[index] = char::from_digit(choice.size as u32 - 1, 36).unwrap();
        let changed = space.parse(&word.iter().collect::<String>()).unwrap();
        assert_eq!(changed != smallest, space.active(&smallest, index), "choice {index}");
        assert_eq!(
            space.network(&changed) != space.network(&smallest),
            space.active(&smallest, index)
        );
    }
}

#[test]
fn wrong_spaces_and_genotypes_name_what_is_wrong() {
    let message = |result: netfit_spaces::Result<Space>| result.unwrap_err().to_string();
    assert!(message(Space::load("ofa-mbv9")).contains("presets are ofa-mbv3"));
    assert!(message(Space::load("nowhere/space.toml")).contains("nowhere/space.toml"));
    let text = std::fs::read_to_string("spaces/presets/ofa-28.toml").unwrap();
    let changed =
        |from: &str, to: &str| message(Space::from_toml("mine.toml", &text.replacen(from, to, 1)));
    assert!(changed("width = 24", "widht = 24").contains("widht"));
    assert!(
        changed("kernel = [3, 5, 7]", "kernel = [3, 4, 7]")
            .contains("stage 1: expected ascending, odd `kernel`")
    );
    assert!(changed("depth = [2, 3, 4]", "depth = [4, 3]").contains("ascending `depth`"));
    assert!(changed("\"relu\"", "\"gelu\"").contains("gelu"));
    assert!(changed("\"pool\", ", "").contains("1x1 before a linear map"));
    for (from, to, reason) in [
        ("\"linear\"", "\"linear o12\"", "10 classes, found 12; hint: leave `o` out"),
        ("squeeze = 0.25", "squeeze = 25", "a `squeeze` above 0 and at most 1"),
        ("squeeze = 0.25", "squeeze = nan", "a `squeeze` above 0 and at most 1"),
        ("depth = [2, 3, 4]", "depth = [1000000000]", "a `depth` of at most 64"),
        ("width = 24", "width = 70000", "at most 65,536 channels"),
        ("dsconv k3", "deconv k3", "`stem`: block template `deconv k3"),
        ("\"pool\"", "\"pull\"", "`head`: block template `pull`"),
        ("1x28x28", "1x28", "`input`: `1x28` is not a shape"),
    ] {
        let message = changed(from, to);
        assert!(message.starts_with("space `ofa-28`") && message.contains(reason), "{message}");
    }
    let odd = (0..37).map(|number| (2 * number + 1).to_string()).collect::<Vec<_>>().join(", ");
    let many = changed("kernel = [3, 5, 7]", &format!("kernel = [{odd}]"));
    assert!(many.contains("at most 36 values of a choice, found 37"), "{many}");
    let text = std::fs::read_to_string("spaces/presets/proxyless-28.toml").unwrap();
    let last = text.replacen("    \"skip\",\n", "", 1).replacen("\n]", "\n    \"skip\",\n]", 1);
    assert!(message(Space::from_toml("mine.toml", &last)).contains("expected `skip` first"));
    for (op, reason) in [
        ("pool", "among `ops`, found `pool`; hint"),
        ("mbconv k3 e3 s2", "expected no `s` and no `o` in `mbconv k3 e3 s2`"),
        ("dsconv k3 e6", "its kind takes no token `e6`"),
        ("conv k3 relu relu6", "`relu6` says again"),
    ] {
        let with = text.replacen("\n]", &format!("\n    \"{op}\",\n]"), 1);
        let message = message(Space::from_toml("mine.toml", &with));
        assert!(message.contains(reason), "{op}: {message}");
    }
    let space = Space::preset("nas-bench-macro").unwrap();
    assert_eq!(space.parse("largest").unwrap(), space.largest());
    assert_eq!(space.parse("smallest").unwrap(), space.smallest());
    assert!(
        space.parse("0000000").unwrap_err().to_string().contains("expected 8 choices, found 7")
    );
    assert!(
        space
            .parse("00000003")
            .unwrap_err()
            .to_string()
            .contains("choice 8 has the values 0 to 2, found 3")
    );
    assert!(space.parse("0000000!").unwrap_err().to_string().contains("`!` is not a digit"));
}
