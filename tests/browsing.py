"""What tests of pages ask a browser."""

CONTRASTS = """() => {
    const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = rgb => rgb.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = node => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] > 0.5) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || /SCRIPT|NOSCRIPT/.test(node.tagName)) continue;
        if (!node.checkVisibility()) continue;
        const [a, b] = [parse(getComputedStyle(node).color), ground(node)].map(light);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
    }
    return found;
}"""
NAMELESS = """() => [...document.querySelectorAll("button, input, select, video, [tabindex]")]
    .filter(node => !(node.getAttribute("aria-label") || node.textContent.trim()))
    .filter(node => !node.labels?.length)
    .concat([...document.querySelectorAll("img:not([alt]), svg[role=img]:not([aria-label])")])
    .concat([...document.querySelectorAll("iframe:not([title])")])
    .map(node => node.outerHTML.slice(0, 80))"""


def until(tab, condition):
    """Wait for a condition in JavaScript; the page's own rules forbid playwright's waiting."""
    for _ in range(1000):  # a busy machine plays films slowly
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(30)
    raise AssertionError(f"never: {condition}")
