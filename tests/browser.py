"""What tests of pages read in a browser."""

# The words that stand on more than one line.
BROKEN_WORDS = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.body, 4);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.parentElement.checkVisibility()) continue;
    if (node.parentElement.closest("pre, style, title")) continue;
    for (const match of node.data.matchAll(/[\\p{L}\\d_]+/gu)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const lines = new Set([...range.getClientRects()].map(r => r.top));
      if (lines.size > 1) broken.push(match[0]);
    }
  }
  return broken;
}"""


def words(page, selector="body"):
    """Returns the visible text, with single spaces."""
    return " ".join(page.inner_text(selector).split())
