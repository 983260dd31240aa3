#![allow(clippy::unwrap_used)]

use netfit_spaces::Random;

use super::*;
use crate::{METHODS, MlpOptions, PredictorOptions};

fn fitted(method: Method, space: &Space) -> Predictor {
    let mut random = Random::new(0, "file");
    let known: Vec<_> = (0..12).map(|n| (space.sample(&mut random), 0.07 * f64::from(n))).collect();
    let mut options = PredictorOptions::default();
    (options.mlp.layers, options.ranked_mlp.layers) = (vec![8], vec![8]);
    Predictor::fit(method, space, &known, &options).unwrap()
}

#[test]
fn every_predictor_is_read_back_as_it_was_written() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictor.safetensors");
    let genotypes: Vec<_> = space.enumerate().step_by(61).collect();
    for method in METHODS {
        let written = fitted(method, &space);
        written.save(&path).unwrap();
        let read = Predictor::load(&path, &space).unwrap();
        let expected = written.predictions(&genotypes).unwrap();
        assert_eq!(read.predictions(&genotypes).unwrap(), expected, "{method}");
        assert_eq!((read.networks(), read.method()), (12, method));
    }
}

#[test]
fn trees_that_were_edited_are_refused() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictor.safetensors");
    fitted(Method::RandomForest, &space).save(&path).unwrap();
    let mut data = std::fs::read(&path).unwrap();
    let child = b"\"true_child\":1";
    let at = data.windows(child.len()).position(|part| part == child).unwrap() + child.len() - 1;
    data[at] = b'0';
    std::fs::write(&path, &data).unwrap();
    let message = Predictor::load(&path, &space).unwrap_err().to_string();
    assert!(message.contains("damaged (checksum") && message.contains("hint:"), "{message}");
}

/// As the first version wrote it.
#[test]
fn files_of_the_first_version_are_read() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictor.safetensors");
    let known = vec![(space.smallest(), 0.25), (space.largest(), 0.75)];
    let options = MlpOptions { layers: vec![3], epochs: 4, ..MlpOptions::default() };
    let mlp = Mlp::fit(&space, &known, &options).unwrap();
    let header = format!(
        "{{\"format\":\"netfit-predictor-1\",\"space\":\"{}\",\"space_name\":\"{}\",\"widths\":[24,3,1],\"base\":0.5,\"scale\":0.25,\"networks\":2}}",
        space.id(),
        space.name()
    );
    let data: Vec<_> =
        mlp.layers.0.iter().map(|layer| (bytes(&layer.weight), bytes(&layer.bias))).collect();
    let view = |shape: &[usize], data| TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
    let views = [
        ("layers.0.weight", view(&[24, 3], &data[0].0)),
        ("layers.0.bias", view(&[3], &data[0].1)),
        ("layers.1.weight", view(&[3, 1], &data[1].0)),
        ("layers.1.bias", view(&[1], &data[1].1)),
    ];
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    std::fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    let read = Predictor::load(&path, &space).unwrap();
    assert_eq!((read.networks(), read.method()), (2, Method::Mlp));
    let genotypes = [space.smallest(), space.largest()];
    assert_eq!(read.predict(&genotypes).unwrap(), mlp.predict(&genotypes));
}

#[test]
fn predictors_of_another_space_and_damaged_files_are_refused() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictor.safetensors");
    let ensemble = fitted(Method::Ensemble, &space);
    ensemble.save(&path).unwrap();
    let other = Space::preset("ofa-28").unwrap();
    let message = Predictor::load(&path, &other).unwrap_err().to_string();
    assert!(message.contains("`nas-bench-macro`") && message.contains("`ofa-28`"), "{message}");
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 50, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = Predictor::load(&path, &space).unwrap_err().to_string();
        assert!(message.contains("damaged") && message.contains("hint:"), "{message}");
    }
    let replace = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut changed = whole.clone();
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, changed).unwrap();
        Predictor::load(&path, &space).unwrap_err().to_string()
    };
    for (from, to, reason) in [
        ("predictor-2", "predictor-9", "found `netfit-predictor-9`"),
        ("\"method\":\"ensemble\"", "\"method\":\"ensembly\"", "unknown variant `ensembly`"),
        ("\"alphas\":[", "\"alphas\":{", "damaged"),
        ("\"genotypes\":[\"0", "\"genotypes\":[\"9", "found 9"),
    ] {
        let message = replace(from, to);
        assert!(message.contains(reason) && message.contains("hint:"), "{message}");
    }
    let missing = ensemble.save(&folder.path().join("no/such/file")).unwrap_err();
    assert!(missing.to_string().contains("cannot write"), "{missing}");
}
