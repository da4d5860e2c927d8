"""The HTML of the pages. No script, nothing loaded from elsewhere."""

from __future__ import annotations

from typing import Final

SHELL: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}} - gateway simulator</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; }
:root { --ink: #1c2330; --dim: #596275; --line: #c9d0dc; --paper: #fff; --back: #eef1f6; --key: #1b5fc1; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf3; --dim: #a3adbf; --line: #414b5e; --paper: #1c222d; --back: #11151c; --key: #7db1ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 30rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; }
p { margin: 0 0 1rem; } .dim, .note { color: var(--dim); }
.problem { border-left: 4px solid #c22f2f; padding: .5rem .75rem; background: #c22f2f1f; }
label { display: block; font-weight: 600; margin: .75rem 0 .25rem; }
input { width: 100%; font: inherit; padding: .6rem .7rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--paper); color: inherit; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: 1.25rem; }
button { flex: 1 1 7rem; font: inherit; font-weight: 600; padding: .7rem; border-radius: .5rem;
  border: 1px solid var(--line); background: transparent; color: inherit; cursor: pointer; }
button.main { background: var(--key); border-color: var(--key); color: var(--paper); }
:focus-visible { outline: 3px solid var(--key); outline-offset: 2px; }
details { margin-top: 1.25rem; } summary { cursor: pointer; color: var(--key); }
table { width: 100%; border-collapse: collapse; font-size: .85rem; margin-top: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .4rem; border-top: 1px solid var(--line); }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; }
footer { margin-top: 1rem; font-size: .85rem; color: var(--dim); }
</style>
</head>
<body>
<main>
<div class="card">
{{body}}
</div>
<footer>A simulator of the payment gateway. No money moves; never enter a real card.</footer>
</main>
</body>
</html>
"""

BIND: Final = """<h1>Save your card</h1>
<p class="dim">{product} - {description}</p>
{saved}{alert}
<form method="post" autocomplete="off">
<label for="number">Card number</label>
<input id="number" name="number" value="{number}" inputmode="numeric" maxlength="23">
<label for="name">Name on the card</label>
<input id="name" name="name" value="{name}" maxlength="100">
<div class="pair">
<div><label for="expiry">Expiry (MM/YY)</label>
<input id="expiry" name="expiry" value="{expiry}" inputmode="numeric" maxlength="7"></div>
<div><label for="cvv">Security code</label>
<input id="cvv" name="cvv" value="123" inputmode="numeric" maxlength="4"></div>
</div>
<div class="buttons">
<button class="main" name="action" value="bind">Bind</button>
<button name="action" value="decline">Decline</button>
<button name="action" value="cancel">Cancel</button>
</div>
</form>
<details><summary>Test cards</summary>
<table><thead><tr><th scope="col">Number</th><th scope="col">What it does</th></tr></thead>
<tbody>{rows}</tbody></table></details>"""

CARD_ROW: Final = "<tr><td>{number}</td><td>{says}</td></tr>"

PAY: Final = """<h1>Pay {amount}</h1>
<p class="dim">{product}</p>
<form method="post"><div class="buttons"><button class="main" name="action" value="pay">Pay now</button></div></form>"""

MESSAGE: Final = """<h1>{title}</h1>
<p class="dim">{text}</p>"""
