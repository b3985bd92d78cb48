"""The look of every page, in light and dark."""

STYLE = """
:root { color-scheme: light dark;
  --back: #f6f7f9; --sheet: #ffffff; --ink: #1b1f24; --soft: #5b6472; --line: #dfe3e8; --track: #e9ecf0;
  --s0: #2563eb; --s1: #d9480f; --s2: #0b8457; --s3: #8b3fd9; --s4: #a16207; --s5: #be185d; --wrong: 217,72,15;
  --right: 37,99,235; --good: #0b6e4f; --bad: #b42318; --alarm: #fff1e6; }
@media (prefers-color-scheme: dark) { :root {
  --back: #111418; --sheet: #1a1e24; --ink: #e7eaee; --soft: #9aa4b2; --line: #2d343d; --track: #2a3038;
  --s0: #6ea8fe; --s1: #ff9457; --s2: #4cc38a; --s3: #c297ff; --s4: #e3b341; --s5: #f783ac; --wrong: 255,148,87;
  --right: 110,168,254; --good: #4cc38a; --bad: #ff8a75; --alarm: #3a2317; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 64px; max-width: 1120px; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { margin: 0 4px 20px; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 14px; font-size: 17px; }
.subtitle { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
nav { margin-top: 12px; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px; }
a { color: var(--s0); text-decoration: none; } a:hover { text-decoration: underline; }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin-bottom: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 14px 20px; }
.headline { margin: 0 0 8px; }
.headline b { display: block; font-size: 44px; line-height: 1.1; color: var(--s0); font-variant-numeric: tabular-nums; }
.headline span { color: var(--soft); font-size: 15px; }
.warning { margin: 0 0 16px; padding: 10px 14px; border: 2px solid var(--bad); border-radius: 8px;
  background: var(--alarm); } .warning b { color: var(--bad); }
.tile b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 20px 28px; }
figure { margin: 0; min-width: 0; }
.chart figcaption { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: baseline; font-size: 14px;
  margin-bottom: 4px; }
.chart svg { display: block; width: 100%; height: auto; }
.none { color: var(--soft); }
.key { display: inline-flex; align-items: center; gap: 6px; color: var(--soft); font-size: 13px; }
.key i { width: 12px; height: 12px; border-radius: 3px; flex: none; border: 1px solid var(--line); }
.key i.s0 { background: var(--s0); } .key i.s1 { background: var(--s1); } .key i.s2 { background: var(--s2); }
.key i.s3 { background: var(--s3); } .key i.s4 { background: var(--s4); } .key i.s5 { background: var(--s5); }
.key i.again { mask: linear-gradient(90deg, #000 4px, transparent 4px 8px, #000 8px); }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .rule { stroke: var(--line); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .line.again { stroke-dasharray: 5 4; }
svg .band { stroke: none; opacity: .18; }
svg .dot { stroke: var(--sheet); stroke-width: 1; }
svg .line.s0 { stroke: var(--s0); } svg .line.s1 { stroke: var(--s1); } svg .line.s2 { stroke: var(--s2); }
svg .line.s3 { stroke: var(--s3); } svg .line.s4 { stroke: var(--s4); } svg .line.s5 { stroke: var(--s5); }
svg .band.s0, svg .dot.s0 { fill: var(--s0); } svg .band.s1, svg .dot.s1 { fill: var(--s1); }
svg .band.s2, svg .dot.s2 { fill: var(--s2); } svg .band.s3, svg .dot.s3 { fill: var(--s3); }
svg .band.s4, svg .dot.s4 { fill: var(--s4); } svg .band.s5, svg .dot.s5 { fill: var(--s5); }
.bars { columns: 2 400px; column-gap: 36px; }
.bar { break-inside: avoid; padding: 3px 0; display: grid; grid-template-columns: minmax(90px, 30%) 1fr 64px; gap: 10px;
  align-items: center; font-size: 14px; }
.bar .name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.bar .track { height: 12px; border-radius: 6px; background: var(--track); overflow: hidden; }
.bar .track i { display: block; height: 100%; background: var(--s0); border-radius: 6px; }
.bar .value { text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; padding: 4px 18px 4px 0; vertical-align: top; overflow-wrap: anywhere; }
thead th, tbody td:first-child { color: var(--soft); font-weight: 500; white-space: nowrap; }
tbody tr + tr td { border-top: 1px solid var(--line); }
.figures td + td { white-space: nowrap; overflow-wrap: normal; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.matrix { font-size: 13px; } .matrix td, .matrix tbody td:first-child { padding: 3px 6px; text-align: right;
  min-width: 34px; border: 1px solid var(--line); color: var(--ink); font-variant-numeric: tabular-nums; }
.matrix td.wrong { background: rgba(var(--wrong), min(calc(var(--share) * 1.6), .6)); }
.matrix td.right { background: rgba(var(--right), calc(var(--share) * .45)); }
.matrix td, .matrix th { overflow-wrap: normal; white-space: nowrap; }
.matrix .side { font-weight: 500; white-space: nowrap; text-align: right; padding-right: 10px; }
.matrix .turned { vertical-align: bottom; padding: 4px 0; }
.matrix .turned span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 130px; overflow: hidden; }
.matrix .corner { vertical-align: bottom; font-size: 12px; font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 14px; }
.cards { display: grid; gap: 22px 24px; }
.cards.single { grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
.cards.tiny { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); } .cards.tiny .title b { display: block; }
.card { min-width: 0; } .card .row { display: grid; gap: 8px; align-items: start; }
.card .row.n2 { grid-template-columns: repeat(2, minmax(0, 1fr)); max-width: 720px; }
.card .row.n3 { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.card .row.n4 { grid-template-columns: repeat(4, minmax(0, 1fr)); }
.card .row.exact { display: flex; flex-wrap: wrap; }
.card .title { margin: 0 0 6px; font-size: 14px; overflow-wrap: anywhere; } .card .title b { font-weight: 600; }
.card .text { margin: 4px 0 0; font-size: 14px; overflow-wrap: anywhere; }
.verdict { display: inline-block; margin-right: 8px; padding: 0 8px; border-radius: 4px; border: 2px solid;
  font-size: 13px; font-weight: 600; }
.verdict.right { color: var(--good); } .verdict.wrong { color: var(--sheet); background: var(--bad);
  border-color: var(--bad); }
.card img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--track); }
.card img.pixels { image-rendering: pixelated; } .card .row.exact img { width: auto; max-width: 100%; }
.card figcaption { color: var(--soft); font-size: 13px; text-align: center; margin-top: 2px; }
.note { color: var(--soft); font-size: 13px; margin: 12px 0 0; }
pre { margin: 0; overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
details { margin-top: 12px; } details + figure { margin-top: 18px; }
summary { cursor: pointer; color: var(--s0); font-size: 14px; }
.sorts { cursor: pointer; } .sorts:hover { color: var(--s0); }
.sorts::after { content: " \\2195"; opacity: .5; }
.sorts[aria-sort=ascending]::after { content: " \\2191"; opacity: 1; }
.sorts[aria-sort=descending]::after { content: " \\2193"; opacity: 1; }
.zooms { cursor: zoom-in; }
dialog.zoom { width: 100vw; height: 100vh; max-width: none; max-height: none; margin: 0; padding: 0; border: none;
  background: var(--back); color: var(--ink); overflow: auto; }
dialog.zoom > :last-child { display: block; margin: auto; width: min(100vw, 178vh); height: 100vh; object-fit: contain;
  cursor: zoom-in; background: var(--sheet); }
dialog.zoom > .large { width: 300vw; height: 300vh; max-width: none; cursor: zoom-out; }
dialog.zoom img.pixels { image-rendering: pixelated; }
dialog.zoom button { position: fixed; top: 8px; right: 12px; padding: 6px 14px; font: inherit; border-radius: 6px;
  border: 1px solid var(--line); background: var(--sheet); color: var(--ink); }
h2 + h3 { margin-top: 0; } h3 { font-size: 14px; margin: 18px 0 8px; }
hr { border: none; border-top: 1px solid var(--line); margin: 12px 0; }
@media (max-width: 600px) {
  body { padding: 16px 8px 40px; } section { padding: 14px 12px; } svg text { font-size: 17px; }
  .card .row.n3, .card .row.n4 { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .figures tbody td:first-child { white-space: normal; overflow-wrap: break-word; }
  .bars { columns: 1; } }
@media print { body { background: #fff; max-width: none; } section { break-inside: avoid; } }
"""
