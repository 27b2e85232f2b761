// Text of others on the page: what a browser would obey or hide is shown by its number, and two texts can be compared.

const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Appends `text` to `node`, odd characters as marks. */
function put(node, text) {
  let from = 0;
  for (const { 0: odd, index } of text.matchAll(ODD)) {
    if (index > from) node.append(text.slice(from, index));
    const code = odd.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    node.append(html("span", { class: "odd", title: "a character that does not show" }, `U+${code}`));
    from = index + odd.length;
  }
  node.append(text.slice(from));
  return node;
}

const clip = (text, length) => (text.length > length ? text.slice(0, length).replace(/[\ud800-\udbff]$/, "") + "…" : text);

const WORD = /\s+|\p{sc=Han}|\p{sc=Hiragana}|\p{sc=Katakana}|[\p{L}\p{N}\p{M}_]+|./gsu;

/** What two texts have in common, word by word: for each side a list of [whether it is only here, text]. */
function compared(left, right) {
  const [a, b] = [left.match(WORD) ?? [], right.match(WORD) ?? []];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const [m, n] = [a.length - start - end, b.length - start - end];
  const same = [new Array(a.length).fill(true), new Array(b.length).fill(true)];
  for (let i = 0; i < m; i++) same[0][start + i] = false;
  for (let j = 0; j < n; j++) same[1][start + j] = false;
  // The longest common subsequence; texts too long for its table are different all the way between what they share.
  if (m * n > 0 && m * n <= 1e6) {
    const length = new Uint16Array((m + 1) * (n + 1));
    for (let i = m - 1; i >= 0; i--) {
      for (let j = n - 1; j >= 0; j--) {
        length[i * (n + 1) + j] = a[start + i] === b[start + j]
          ? length[(i + 1) * (n + 1) + j + 1] + 1
          : Math.max(length[(i + 1) * (n + 1) + j], length[i * (n + 1) + j + 1]);
      }
    }
    for (let i = 0, j = 0; i < m && j < n;) {
      if (a[start + i] === b[start + j]) same[0][start + i++] = same[1][start + j++] = true;
      else if (length[(i + 1) * (n + 1) + j] >= length[i * (n + 1) + j + 1]) i++;
      else j++;
    }
  }
  return [pieces(a, same[0]), pieces(b, same[1])];
}

function pieces(words, same) {
  const found = [];
  words.forEach((word, at) => {
    if (found.length && found.at(-1)[0] === !same[at]) found.at(-1)[1] += word;
    else found.push([!same[at], word]);
  });
  return found;
}

/** Appends one side of a comparison; `tag` marks what only this side has. */
function putPieces(node, list, tag) {
  for (const [only, piece] of list) only ? node.append(put(html(tag), piece)) : put(node, piece);
  return node;
}
