//! `mk-server outliers`: the odd machines of the fleet on a terminal.

use serde_json::Value;

use crate::cli::args::Outliers;
use crate::cli::client::Client;
use crate::cli::{list, plain, print, print_json};
use crate::human;

/// Asks and shows the answer.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, args: Outliers) -> anyhow::Result<()> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("product", args.product.as_deref().unwrap_or_default());
    let path = format!("/api/collections/outliers?{}", query.finish());
    let document = client.all(&path).await?;
    if args.json { print_json(&document) } else { print(&text(&document)) }
}

fn text(document: &Value) -> String {
    let products: Vec<&Value> = list(&document["products"]).collect();
    if products.is_empty() {
        return "No machine of such a product has reported an inventory.\n".to_owned();
    }
    products.into_iter().map(|product| of_product(product, document)).collect::<Vec<_>>().join("\n")
}

/// A product: how many machines, where nothing is common, and the odd ones.
fn of_product(product: &Value, document: &Value) -> String {
    let number = |field: &str| product[field].as_i64().unwrap_or(0);
    let count = |n: i64, one, many| human::count(usize::try_from(n).unwrap_or(0), one, many);
    let mut lines = vec![format!(
        "{}: {}, {}, {} odd",
        plain(&product["product"]),
        count(number("nodes"), "machine", "machines"),
        count(number("makeups"), "makeup", "makeups"),
        number("odd")
    )];
    for split in list(&product["split"]) {
        lines.push(format!("  nothing is common: {}", plain(&split["text"])));
    }
    for item in list(&document["items"]).filter(|item| item["product"] == product["product"]) {
        for odd in list(&item["odd"]) {
            lines.push(format!("  {}: {}", plain(&item["name"]), plain(&odd["text"])));
        }
        if let Some(more) = item["more"].as_u64().filter(|more| *more > 0) {
            lines.push(format!("  {}: and {more} more", plain(&item["name"])));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_odd_thing_is_a_line_below_its_product() {
        let document = json!({
            "products": [{"product": "Dell R650\u{1b}", "nodes": 42, "makeups": 2, "odd": 1, "split": [{"text": "BIOS: version: 1 at 2, 2 at 2"}]}],
            "items": [{"name": "node17", "product": "Dell R650\u{1b}", "odd": [{"text": "B2: speed 2400 MT/s"}], "more": 3}]});
        let want = "Dell R650\u{fffd}: 42 machines, 2 makeups, 1 odd\n  nothing is common: BIOS: version: 1 at 2, 2 at 2\n  \
                    node17: B2: speed 2400 MT/s\n  node17: and 3 more\n";
        assert_eq!(text(&document), want);
        assert!(text(&json!({"products": []})).contains("No machine"));
    }
}
