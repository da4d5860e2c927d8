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
:root { color-scheme: light dark; --ink: #18202d; --dim: #566073; --edge: #818b9d; --line: #d3d9e3; --paper: #fff;
  --back: #eef1f6; --key: #1957b3; --on-key: #fff; --bad: #b3261e; --bad-back: #fdeceb; --good: #14743b;
  --test: #6b4a00; --test-back: #fff1cf; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf3; --dim: #a5afc0; --edge: #6d788c; --line: #343d4d; --paper: #1b212c; --back: #10141b;
    --key: #86b7ff; --on-key: #0b1830; --bad: #ffb4ab; --bad-back: #41191a; --good: #7fd7a0;
    --test: #ffdd9c; --test-back: #3a2c08; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
.test { margin: 0; padding: .5rem 1rem; text-align: center; font-size: .875rem; color: var(--test);
  background: var(--test-back); }
main { max-width: 29rem; margin: 0 auto; padding: clamp(1rem, 8vw - 1rem, 4rem) 1rem 3rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 1rem; padding: 1.5rem;
  box-shadow: 0 1px 2px #0000000d, 0 8px 24px #0000000f; }
.card > :last-child { margin-bottom: 0; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0 0 1rem; }
p { margin: 0 0 1rem; } .dim { color: var(--dim); }
.product { display: grid; padding: .75rem 1rem; border-radius: .625rem; background: var(--back); }
.product span { color: var(--dim); font-size: .9375rem; }
.problem { padding: .75rem 1rem; border-radius: .625rem; color: var(--bad); background: var(--bad-back); }
label { display: block; font-weight: 600; font-size: .9375rem; margin: 1rem 0 .3rem; }
input { width: 100%; font: inherit; padding: .65rem .75rem; border: 1px solid var(--edge); border-radius: .625rem;
  background: var(--paper); color: inherit; }
input[aria-invalid] { border-color: var(--bad); box-shadow: 0 0 0 1px var(--bad); }
.wrong { margin: .3rem 0 0; font-size: .875rem; color: var(--bad); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .875rem; }
button { width: 100%; min-height: 2.875rem; font: inherit; font-weight: 600; padding: .6rem 1rem; cursor: pointer;
  border-radius: .625rem; border: 1px solid var(--edge); background: transparent; color: inherit; }
button:hover { border-color: var(--ink); }
button.main { margin-top: 1.5rem; background: var(--key); border-color: var(--key); color: var(--on-key); }
.pair button { margin-top: .875rem; }
:focus-visible { outline: 3px solid var(--key); outline-offset: 2px; }
fieldset { border: 0; margin: 0; padding: 0; } legend { font-weight: 600; padding: 0; margin-bottom: .5rem; }
.method { display: flex; gap: .75rem; align-items: center; font-weight: 400; margin: 0; padding: .7rem .9rem;
  border: 1px solid var(--line); border-radius: .625rem; cursor: pointer; } .method + .method { margin-top: .5rem; }
.method input { width: auto; margin: 0; } button.quiet { margin-top: .875rem; border-color: transparent; }
details { margin-top: 1.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
summary { cursor: pointer; font-weight: 600; color: var(--key); }
table { width: 100%; border-collapse: collapse; font-size: .875rem; margin-top: .75rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--dim); font-weight: 600; }
tbody th { font: .8125rem/1.6 ui-monospace, monospace; white-space: nowrap; padding-right: 1rem; }
.mark { width: 2.75rem; height: 2.75rem; margin-bottom: .75rem; border-radius: 50%; display: grid;
  place-items: center; font-size: 1.4rem; color: var(--paper); background: var(--good); }
.mark.bad { background: var(--bad); }
</style>
</head>
<body>
<p class="test"><strong>Test mode.</strong> A simulated gateway. No money moves. Never enter a real card.</p>
<main>
<div class="card">
{{body}}
</div>
</main>
</body>
</html>
"""

BIND: Final = """<h1>Save your card</h1>
<p class="product"><strong>{product}</strong><span>{description}</span></p>
{saved}{alert}
<form method="post" autocomplete="off" novalidate>
<label for="number">Card number</label>
<input id="number" name="number" value="{number}" inputmode="numeric" maxlength="23"{number_wrong}
<label for="name">Name on the card</label>
<input id="name" name="name" value="{name}" maxlength="100"{name_wrong}
<div class="pair">
<div><label for="expiry">Expiry (MM/YY)</label>
<input id="expiry" name="expiry" value="{expiry}" inputmode="numeric" maxlength="7"{expiry_wrong}</div>
<div><label for="cvv">Security code</label>
<input id="cvv" name="cvv" value="{cvv}" inputmode="numeric" maxlength="4"{cvv_wrong}</div>
</div>
<button class="main" name="action" value="bind">Bind card</button>
<div class="pair">
<button name="action" value="decline">Decline</button>
<button name="action" value="cancel">Cancel</button>
</div>
</form>
<details{open}><summary>Test cards</summary>
<table><thead><tr><th scope="col">Number</th><th scope="col">What becomes of it</th></tr></thead>
<tbody>{rows}</tbody></table></details>"""

ALERT: Final = '<p class="problem" role="alert">{text}</p>'
RIGHT: Final = ">"
WRONG: Final = ' aria-invalid="true" aria-describedby="{name}-wrong"><p class="wrong" id="{name}-wrong">{text}</p>'
SAVED: Final = '<p class="dim">Saved now: {label}. Another card replaces it.</p>'
CARD_ROW: Final = '<tr><th scope="row">{number}</th><td>{says}</td></tr>'

PAY: Final = """<h1>Pay {amount}</h1>
<p class="product"><strong>{product}</strong><span>An order that could not be charged to your card</span></p>
<form method="post"><button class="main" name="action" value="pay">Pay now</button></form>"""

CHECKOUT_PAGE: Final = """<h1>Pay {amount}</h1>
<p class="product"><strong>{product}</strong><span>Order {order}</span></p>
<p class="wrong" role="alert">{problem}</p>
<form method="post">
<fieldset><legend>How do you want to pay?</legend>{methods}</fieldset>
<button class="main" name="action" value="pay">Pay now</button>
<div class="pair">
<button name="action" value="later">Bank confirms later</button>
<button name="action" value="fail">Payment fails</button>
</div>
<button class="quiet" name="action" value="cancel">Cancel</button>
</form>"""

METHOD: Final = (
    '<label class="method"><input type="radio" name="method" value="{code}"{checked}><span>{words}</span></label>'
)

MESSAGE: Final = """<div class="mark {kind}" aria-hidden="true">{sign}</div>
<h1>{title}</h1>
<p class="dim">{text}</p>"""
