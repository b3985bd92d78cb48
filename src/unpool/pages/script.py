"""The one script of every page: it sorts tables and enlarges pictures; a page reads well without it.

The page's policy allows it by its hash and no other, so that nothing in the data can run.
"""

import base64
import hashlib

SCRIPT = """
"use strict";
(() => {
  const number = (text) => {
    const match = text.replace(/,/g, "").match(/^[-+]?[0-9]*[.]?[0-9]+(e[-+]?[0-9]+)?/i);
    return match ? parseFloat(match[0]) : NaN;
  };
  const compare = (one, other) => {
    const a = number(one), b = number(other);
    if (Number.isNaN(a) && Number.isNaN(b)) return one.localeCompare(other);
    return Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : a - b;
  };
  const sort = (table, column, head) => {
    const isUp = head.getAttribute("aria-sort") !== "ascending";
    const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].textContent.trim(), row]);
    const known = rows.filter(([text]) => !/^(|-|n.a|absent)$/.test(text));
    const rest = rows.filter(([text]) => /^(|-|n.a|absent)$/.test(text));
    known.sort(([one], [other]) => (isUp ? compare(one, other) : compare(other, one)));
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    table.tBodies[0].append(...known.concat(rest).map(([, row]) => row));
  };
  const pressed = (part, act) => {
    part.tabIndex = 0;
    part.addEventListener("click", act);
    part.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(event); }
    });
  };
  for (const table of document.querySelectorAll("table:not(.matrix)")) {
    if (!table.tHead || table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.classList.add("sorts");
      pressed(head, () => sort(table, column, head));
    });
  }
  const dialog = document.createElement("dialog");
  dialog.className = "zoom";
  dialog.setAttribute("aria-label", "enlarged picture; click it to enlarge it further, Escape closes");
  document.body.append(dialog);
  const enlarge = (picture) => {
    const shown = picture.cloneNode(true);
    shown.removeAttribute("loading");
    const close = document.createElement("button");
    close.textContent = "close";
    close.addEventListener("click", () => dialog.close());
    shown.addEventListener("click", (event) => {
      const before = shown.getBoundingClientRect();
      const x = (event.clientX - before.left) / before.width, y = (event.clientY - before.top) / before.height;
      shown.classList.toggle("large");
      const [width, height] = [dialog.clientWidth, dialog.clientHeight];
      dialog.scrollTo(x * dialog.scrollWidth - width / 2, y * dialog.scrollHeight - height / 2);
    });
    dialog.replaceChildren(close, shown);
    dialog.showModal();
  };
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const picture of document.querySelectorAll(".card img, .chart svg, svg.arithmetic")) {
    picture.classList.add("zooms");
    pressed(picture, () => enlarge(picture));
  }
})();
"""

HASH = f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode('ascii')}'"
