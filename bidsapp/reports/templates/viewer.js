/* The brain of the atlas with every lesion: a glass brain to turn, and three linked slices. Draws with the
   canvas alone, so that it needs neither a graphics card nor anything outside this file. World axes: x to the
   patient's right, y to the front, z to the top, in millimetres. */
(function () {
  "use strict";
  const holder = document.getElementById("scene");
  if (!holder) { return; }
  const scene = JSON.parse(holder.textContent);
  const [nx, ny, nz] = scene.shape, step = scene.step, origin = scene.origin;
  const size = nx * ny * nz;
  const grey = new Uint8Array(size), label = new Uint8Array(size), heat = new Uint8Array(size);
  const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#ffffff"];
  const SIGNS = ["●", "■", "▲", "◆"];
  const LETTERS = [["R", 0, 1], ["L", 0, -1], ["A", 1, 1], ["P", 1, -1], ["S", 2, 1], ["I", 2, -1]];
  const VIEWS = {
    top: [[1, 0, 0], [0, 1, 0]], bottom: [[-1, 0, 0], [0, 1, 0]], back: [[1, 0, 0], [0, 0, 1]],
    front: [[-1, 0, 0], [0, 0, 1]], left: [[0, -1, 0], [0, 0, 1]], right: [[0, 1, 0], [0, 0, 1]]
  };
  const PLANES = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] };

  function element(id) { return document.getElementById("viewer-" + id); }
  function cross(a, b) {
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  }
  function dot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
  function unit(a) { const n = Math.sqrt(dot(a, a)); return [a[0] / n, a[1] / n, a[2] / n]; }
  function clamp(value, low, high) { return Math.min(Math.max(value, low), high); }
  const last = [nx - 1, ny - 1, nz - 1];
  const middle = origin.map((low, axis) => low + step * last[axis] / 2);
  const reach = step * Math.max(...last) / 2 + 8;

  const lesions = scene.lesions.map(function (row, index) {
    return { at: [row[0] / 10, row[1] / 10, row[2] / 10], radius: row[3] / 10, patient: row[4], number: row[5],
      link: row[6], index: index };
  });
  const hidden = new Set();
  let grouping = scene.groupings[scene.groupings[1].groups.length > 1 ? 1 : 0];
  let chosen = -1, cursor = middle.slice(), right, up, zoom = 1, glass = null;

  function group(lesion) { return grouping.of[lesion.index]; }
  function shown(lesion) { return !hidden.has(group(lesion)); }
  function colour(number) { return COLOURS[number % COLOURS.length]; }
  function voxel(at) { return at.map((mm, axis) => clamp(Math.round((mm - origin[axis]) / step), 0, last[axis])); }

  /* ---- the volume, from the slices of one image ---- */
  function unpack(image) {
    const sheet = document.createElement("canvas");
    sheet.width = image.width; sheet.height = image.height;
    const pen = sheet.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    for (let k = 0, at = 0; k < nz; k++) {
      const tile = pen.getImageData((k % scene.columns) * nx, Math.floor(k / scene.columns) * ny, nx, ny).data;
      for (let pixel = 0; pixel < tile.length; pixel += 4, at++) {
        grey[at] = tile[pixel]; label[at] = tile[pixel + 1]; heat[at] = tile[pixel + 2];
      }
    }
  }

  /* ---- the surface of the brain: points with normals on the smoothed mask's half level ---- */
  function smoothed() {
    let from = Float32Array.from(label, value => value > 0 ? 1 : 0), to = new Float32Array(size);
    for (let pass = 0; pass < 3; pass++) {
      [1, nx, nx * ny].forEach(function (stride, axis) {
        const n = scene.shape[axis];
        for (let at = 0; at < size; at++) {
          const place = Math.floor(at / stride) % n;
          to[at] = place === 0 || place === n - 1 ? 0 : (from[at - stride] + from[at] + from[at + stride]) / 3;
        }
        [from, to] = [to, from];
      });
    }
    return from;
  }
  function surface() {
    const mask = smoothed(), found = [];
    const strides = [1, nx, nx * ny];
    for (let k = 1; k < nz - 1; k++) {
      for (let j = 1; j < ny - 1; j++) {
        for (let i = 1; i < nx - 1; i++) {
          const at = i + nx * (j + ny * k);
          if (mask[at] < 0.5) { continue; }
          if (strides.every(stride => mask[at - stride] >= 0.5 && mask[at + stride] >= 0.5)) { continue; }
          const slope = strides.map(stride => (mask[at + stride] - mask[at - stride]) / 2);
          const steep = Math.sqrt(dot(slope, slope));
          if (steep < 1e-3) { continue; }
          const normal = slope.map(each => -each / steep), out = Math.min((mask[at] - 0.5) / steep, 1);
          [i, j, k].forEach(function (place, axis) {
            found.push(origin[axis] + step * (place + out * normal[axis]) - middle[axis]);
          });
          found.push(normal[0], normal[1], normal[2]);
        }
      }
    }
    return Float32Array.from(found);
  }

  /* ---- the glass brain ---- */
  const globe = element("globe"), ink = globe.getContext("2d", { willReadFrequently: true });
  const small = document.createElement("canvas");
  small.width = globe.width / 2; small.height = globe.height / 2;
  const smallInk = small.getContext("2d"), mist = new Float32Array(small.width * small.height);
  const film = smallInk.createImageData(small.width, small.height);
  function scale() { return zoom * 0.53 * globe.height / reach; }
  function project(at) {
    const p = [at[0] - middle[0], at[1] - middle[1], at[2] - middle[2]], s = scale();
    return [globe.width / 2 + s * dot(p, right), globe.height / 2 - s * dot(p, up), dot(p, cross(right, up))];
  }
  function drawMist() {
    const towards = cross(right, up), s = scale() / 2, w = small.width, h = small.height;
    const broad = Math.max(1, Math.round(s * step / 2)), soft = (s * step / (2 * broad + 1)) ** 2;
    mist.fill(0);
    for (let at = 0; at < glass.length; at += 6) {
      const x = glass[at], y = glass[at + 1], z = glass[at + 2];
      const col = Math.round(w / 2 + s * (x * right[0] + y * right[1] + z * right[2]));
      const row = Math.round(h / 2 - s * (x * up[0] + y * up[1] + z * up[2]));
      if (col < broad || row < broad || col >= w - broad || row >= h - broad) { continue; }
      const facing = glass[at + 3] * towards[0] + glass[at + 4] * towards[1] + glass[at + 5] * towards[2];
      const rim = 1 - Math.abs(facing), light = (0.02 + 0.42 * rim * rim * rim) * (facing > 0 ? 1 : 0.3) * soft;
      for (let dr = -broad; dr <= broad; dr++) {
        const start = (row + dr) * w + col;
        for (let dc = -broad; dc <= broad; dc++) { mist[start + dc] += light; }
      }
    }
    for (let at = 0; at < mist.length; at++) {
      const bright = 1 - Math.exp(-mist[at]), pixel = 4 * at;
      film.data[pixel] = 13 + 175 * bright; film.data[pixel + 1] = 20 + 190 * bright;
      film.data[pixel + 2] = 30 + 205 * bright; film.data[pixel + 3] = 255;
    }
    smallInk.putImageData(film, 0, 0);
    ink.imageSmoothingEnabled = true;
    ink.drawImage(small, 0, 0, globe.width, globe.height);
  }
  function sign(pen, number, x, y, r) {
    const shape = Math.floor(number / COLOURS.length) % SIGNS.length;
    pen.beginPath();
    if (shape === 0) { pen.arc(x, y, r, 0, 2 * Math.PI); }
    else if (shape === 1) { pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r); }
    else {
      const corners = shape === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]];
      corners.forEach((c, n) => pen[n ? "lineTo" : "moveTo"](x + r * c[0], y + r * c[1]));
      pen.closePath();
    }
  }
  function write(pen, letter, x, y, size) {
    pen.font = "600 " + size + "px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
    pen.lineWidth = 4; pen.strokeStyle = "rgba(8, 13, 20, .9)"; pen.strokeText(letter, x, y);
    pen.fillStyle = "#ffffff"; pen.fillText(letter, x, y);
  }
  function drawGlobe() {
    ink.fillStyle = "rgb(13, 20, 30)"; ink.fillRect(0, 0, globe.width, globe.height);
    if (element("brain").checked) { drawMist(); }
    const points = lesions.filter(shown).map(lesion => [project(lesion.at), lesion]);
    points.sort((a, b) => a[0][2] - b[0][2]);
    points.forEach(function ([p, lesion]) {
      const r = clamp(lesion.radius * scale(), 3.5, 14), near = clamp(0.5 + 0.5 * p[2] / reach, 0, 1);
      sign(ink, group(lesion), p[0], p[1], r);
      ink.globalAlpha = 0.55 + 0.4 * near; ink.fillStyle = colour(group(lesion)); ink.fill();
      ink.globalAlpha = 1; ink.lineWidth = 1; ink.strokeStyle = "rgba(0, 0, 0, .65)"; ink.stroke();
    });
    if (chosen >= 0) {
      const p = project(lesions[chosen].at), r = clamp(lesions[chosen].radius * scale(), 3.5, 14) + 5;
      ink.beginPath(); ink.arc(p[0], p[1], r, 0, 2 * Math.PI);
      ink.lineWidth = 3; ink.strokeStyle = "#ffffff"; ink.stroke();
    }
    LETTERS.forEach(function ([letter, axis, side]) {
      const at = middle.slice();
      at[axis] += side * (step * last[axis] / 2 + 5);
      const p = project(at);
      if (Math.abs(p[2]) < 0.8 * step * last[axis] / 2) {
        write(ink, letter, clamp(p[0], 12, globe.width - 12), clamp(p[1], 12, globe.height - 12), 18);
      }
    });
  }

  /* ---- the slices ---- */
  const slices = Object.keys(PLANES).map(function (name) {
    const canvas = element(name), axes = PLANES[name];
    const raster = document.createElement("canvas");
    raster.width = scene.shape[axes[0]]; raster.height = scene.shape[axes[1]];
    canvas.width = 4 * raster.width; canvas.height = 4 * raster.height;
    return { canvas: canvas, raster: raster, axes: axes, letter: name === "sagittal" ? 0.042 : 0.065 };
  });
  const STRIDES = [1, nx, nx * ny];
  function drawSlice(slice) {
    const [across, upward, through] = slice.axes, at = voxel(cursor), w = slice.raster.width, h = slice.raster.height;
    const pen = slice.raster.getContext("2d"), picture = pen.createImageData(w, h), warm = element("heat").checked;
    for (let row = 0, pixel = 0; row < h; row++) {
      for (let col = 0; col < w; col++, pixel += 4) {
        const index = at[through] * STRIDES[through] + col * STRIDES[across] + (h - 1 - row) * STRIDES[upward];
        const tone = warm && heat[index] > 5 ? scene.heat[heat[index] >> 3] : [grey[index], grey[index], grey[index]];
        picture.data[pixel] = tone[0]; picture.data[pixel + 1] = tone[1];
        picture.data[pixel + 2] = tone[2]; picture.data[pixel + 3] = 255;
      }
    }
    pen.putImageData(picture, 0, 0);
    const out = slice.canvas.getContext("2d", { willReadFrequently: true }), zoomed = slice.canvas.width / w;
    out.imageSmoothingEnabled = true;
    out.drawImage(slice.raster, 0, 0, slice.canvas.width, slice.canvas.height);
    const x = mm => zoomed * ((mm - origin[across]) / step + 0.5);
    const y = mm => zoomed * (h - 0.5 - (mm - origin[upward]) / step);
    lesions.filter(shown).forEach(function (lesion) {
      const off = Math.abs(lesion.at[through] - cursor[through]), ball = Math.max(lesion.radius, 2);
      if (off > ball) { return; }
      const r = Math.max(zoomed * Math.sqrt(ball * ball - off * off) / step, 4);
      sign(out, group(lesion), x(lesion.at[across]), y(lesion.at[upward]), r);
      out.lineWidth = lesion.index === chosen ? 6 : 3.5; out.strokeStyle = "rgba(0, 0, 0, .8)"; out.stroke();
      out.lineWidth = lesion.index === chosen ? 4 : 2; out.strokeStyle = colour(group(lesion)); out.stroke();
    });
    out.strokeStyle = "rgba(86, 180, 233, .65)"; out.lineWidth = 1.5;
    out.beginPath(); out.moveTo(x(cursor[across]), 0); out.lineTo(x(cursor[across]), slice.canvas.height);
    out.moveTo(0, y(cursor[upward])); out.lineTo(slice.canvas.width, y(cursor[upward])); out.stroke();
    const edges = [["L", "R"], ["P", "A"], ["I", "S"]];
    const wide = slice.canvas.width, high = slice.canvas.height, letter = Math.round(wide * slice.letter);
    write(out, edges[across][0], 0.8 * letter, high / 2, letter);
    write(out, edges[across][1], wide - 0.8 * letter, high / 2, letter);
    write(out, edges[upward][1], wide / 2, 0.7 * letter, letter);
    write(out, edges[upward][0], wide / 2, high - 0.7 * letter, letter);
  }

  /* ---- words ---- */
  function tell() {
    const info = element("info"), at = voxel(cursor), index = at[0] + nx * (at[1] + ny * at[2]);
    const place = "x " + cursor[0].toFixed(0) + ", y " + cursor[1].toFixed(0) + ", z " + cursor[2].toFixed(0) + " mm: " +
      (scene.names[label[index]] || "outside all structures") + ". ";
    info.textContent = "";
    if (chosen < 0) { info.textContent = place + "Choose a lesion to see whose it is."; return; }
    const lesion = lesions[chosen];
    const words = scene.groupings.map(each => each.name + " " + each.groups[each.of[chosen]]).join(", ");
    info.append(lesion.patient + ", lesion " + lesion.number + " (" + words + "). " + place);
    if (lesion.link) {
      const link = document.createElement("a");
      link.href = lesion.link; link.textContent = "Open the page of " + lesion.patient;
      info.append(link);
    }
  }
  function legend() {
    const list = element("legend");
    list.textContent = "";
    grouping.groups.forEach(function (name, number) {
      const item = document.createElement("li"), line = document.createElement("label");
      const box = document.createElement("input"), mark = document.createElement("span");
      box.type = "checkbox"; box.checked = !hidden.has(number);
      box.addEventListener("change", function () {
        if (box.checked) { hidden.delete(number); } else { hidden.add(number); }
        draw();
      });
      mark.textContent = SIGNS[Math.floor(number / COLOURS.length) % SIGNS.length];
      mark.style.color = colour(number); mark.setAttribute("aria-hidden", "true");
      line.append(box, mark, name + " (" + grouping.of.filter(each => each === number).length + ")");
      item.append(line); list.append(item);
    });
  }

  /* ---- what the reader does ---- */
  let waiting = false;
  function draw() {
    globe.dataset.chosen = chosen; globe.dataset.cursor = cursor.map(mm => mm.toFixed(1)).join(" ");
    globe.dataset.right = right.map(each => each.toFixed(3)).join(" ");
    if (waiting) { return; }
    waiting = true;
    window.requestAnimationFrame(function () { waiting = false; drawGlobe(); slices.forEach(drawSlice); });
  }
  function look(name) { right = VIEWS[name][0].slice(); up = VIEWS[name][1].slice(); }
  function turn(dx, dy) {
    const towards = cross(right, up);
    const mixed = right.map((each, axis) => Math.cos(dx) * each + Math.sin(dx) * towards[axis]);
    const ahead = cross(mixed, up);
    right = unit(mixed);
    up = up.map((each, axis) => Math.cos(dy) * each - Math.sin(dy) * ahead[axis]);
    up = unit(up.map((each, axis) => each - dot(up, right) * right[axis]));
  }
  function enlarge(factor) { zoom = clamp(zoom * factor, 0.6, 6); }
  function choose(index) {
    chosen = index;
    if (index >= 0) { cursor = lesions[index].at.slice(); }
    draw(); tell();
  }
  function stepTo(by) {
    const open = lesions.filter(shown);
    if (!open.length) { return; }
    const at = open.findIndex(lesion => lesion.index === chosen), count = open.length;
    choose(open[at < 0 ? (by > 0 ? 0 : count - 1) : (at + by + count) % count].index);
  }
  function follow() { if (chosen >= 0 && lesions[chosen].link) { window.location.href = lesions[chosen].link; } }
  function pointer(canvas, event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  }
  function pick(x, y) {
    let best = -1, least = 1e9;
    lesions.filter(shown).forEach(function (lesion) {
      const p = project(lesion.at), off = Math.hypot(p[0] - x, p[1] - y);
      if (off < Math.max(10, clamp(lesion.radius * scale(), 3.5, 14)) && off - p[2] / reach < least) {
        best = lesion.index; least = off - p[2] / reach;
      }
    });
    return best;
  }
  let held = null;
  globe.addEventListener("pointerdown", function (event) {
    held = { x: event.clientX, y: event.clientY, moved: 0 };
  });
  globe.addEventListener("pointermove", function (event) {
    globe.style.cursor = pick(...pointer(globe, event)) >= 0 ? "pointer" : "grab";
  });
  window.addEventListener("pointermove", function (event) {
    if (!held) { return; }
    const dx = event.clientX - held.x, dy = event.clientY - held.y;
    held = { x: event.clientX, y: event.clientY, moved: held.moved + Math.abs(dx) + Math.abs(dy) };
    turn(dx / 120, dy / 120); draw();
  });
  window.addEventListener("pointerup", function (event) {
    const still = held && held.moved < 5;
    held = null;
    if (!still) { return; }
    const found = pick(...pointer(globe, event));
    if (found >= 0 && found === chosen) { follow(); } else { choose(found); }
  });
  globe.addEventListener("wheel", function (event) {
    if (!event.ctrlKey) { return; }
    event.preventDefault(); enlarge(Math.exp(-event.deltaY / 400)); draw();
  }, { passive: false });
  globe.addEventListener("keydown", function (event) {
    const moves = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] };
    if (moves[event.key]) { turn(...moves[event.key]); }
    else if (event.key === "+" || event.key === "=") { enlarge(1.2); }
    else if (event.key === "-") { enlarge(1 / 1.2); }
    else if (event.key === "n") { stepTo(1); }
    else if (event.key === "p") { stepTo(-1); }
    else if (event.key === "Enter") { follow(); }
    else { return; }
    event.preventDefault(); draw();
  });
  slices.forEach(function (slice) {
    const [across, upward, through] = slice.axes;
    function move(by) {
      cursor = cursor.map((mm, axis) => clamp(mm + step * by[axis], origin[axis], origin[axis] + step * last[axis]));
      draw(); tell();
    }
    slice.canvas.addEventListener("pointerdown", function (event) {
      const [x, y] = pointer(slice.canvas, event), zoomed = slice.canvas.width / slice.raster.width;
      cursor[across] = origin[across] + step * (x / zoomed - 0.5);
      cursor[upward] = origin[upward] + step * (slice.raster.height - 0.5 - y / zoomed);
      const near = lesions.filter(shown).find(lesion => Math.hypot(...lesion.at.map((mm, axis) => mm - cursor[axis])) <
        Math.max(lesion.radius, 3));
      if (near) { choose(near.index); } else { move([0, 0, 0]); }
    });
    slice.canvas.addEventListener("keydown", function (event) {
      const by = [0, 0, 0];
      const moves = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [upward, 1], ArrowDown: [upward, -1],
        PageUp: [through, 1], PageDown: [through, -1] };
      if (!moves[event.key]) { return; }
      event.preventDefault();
      by[moves[event.key][0]] = moves[event.key][1];
      move(by);
    });
  });
  document.querySelectorAll("[data-view]").forEach(function (button) {
    button.addEventListener("click", function () { look(button.dataset.view); draw(); });
  });
  [["brain", draw], ["heat", draw]].forEach(([id, action]) => element(id).addEventListener("change", action));
  element("larger").addEventListener("click", () => { enlarge(1.2); draw(); });
  element("smaller").addEventListener("click", () => { enlarge(1 / 1.2); draw(); });
  element("next").addEventListener("click", () => stepTo(1));
  element("previous").addEventListener("click", () => stepTo(-1));
  scene.groupings.forEach(function (each, number) {
    const option = document.createElement("option");
    option.value = number; option.textContent = each.name; option.selected = each === grouping;
    element("grouping").append(option);
  });
  element("grouping").addEventListener("change", function () {
    grouping = scene.groupings[Number(element("grouping").value)]; hidden.clear(); legend(); draw();
  });

  const image = new Image();
  image.addEventListener("load", function () {
    unpack(image);
    glass = surface();
    const peak = heat.reduce((best, value, at) => value > heat[best] ? at : best, 0);
    if (heat[peak] > 0) {
      const at = [peak % nx, Math.floor(peak / nx) % ny, Math.floor(peak / nx / ny)];
      cursor = at.map((place, axis) => origin[axis] + step * place);
    }
    document.getElementById("viewer").hidden = false;
    look("top"); turn(0.35, -0.5);
    legend(); draw(); tell();
  });
  image.src = scene.source;
}());
