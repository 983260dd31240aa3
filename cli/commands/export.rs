//! `netfit export`: a subnet of a run's supernet as an ONNX file.

use anyhow::{Result, bail};
use serde_json::json;

use crate::{
    args::{Export, FileNumbers},
    output, run,
    runtime::check_writable,
};

pub(crate) fn execute(args: &Export, as_json: bool) -> Result<()> {
    let setting = run::Setting::existing(&args.run)?.training_on(&args.training);
    let method = setting.config.method;
    if method != run::Method::Ofa {
        bail!(
            "`{}`: expected a run of method `ofa`, found `{method}`, which leaves no supernet to cut; hint: its networks are in \
             `{}`",
            args.run.display(),
            args.run.join("networks").display()
        );
    }
    let genotype = setting.space.parse(&args.genotype)?;
    let weights = args.out.with_extension("safetensors");
    if weights == args.out {
        bail!("--out `{}`: the weights take that name; hint: end it in .onnx", args.out.display());
    }
    for file in [&args.out, &weights] {
        setting.folder.refuse(file)?;
    }
    check_writable(&args.out)?;
    check_writable(&weights)?;
    let mut torch = setting.torch()?;
    let int8 =
        args.precision.map_or_else(|| setting.quantizes(), |asked| asked == FileNumbers::Int8);
    let file = (args.out.as_path(), int8);
    let difference = run::export(&setting, &mut torch, &genotype, &weights, file)?;
    let precision = if int8 { "int8" } else { "fp32" };
    if as_json {
        return output::json(&json!({
            "model": args.out.display().to_string(), "weights": weights.display().to_string(),
            "genotype": genotype, "precision": precision, "logits_max_difference": difference,
        }));
    }
    output::text(&format!("model   {} ({precision})", args.out.display()))?;
    output::text(&format!("weights {}", weights.display()))?;
    let before = if int8 { " before it was quantised" } else { "" };
    output::text(&format!("largest difference to torch's logits{before}: {difference:.1e}"))
}
