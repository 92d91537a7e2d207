"use strict";
const sounds = JSON.parse(document.getElementById("sounds").textContent);
const tooltip = document.getElementById("tooltip");
const player = new Audio();
let playing = "";

function elementsOf(clip) {
  return document.querySelectorAll(`[data-clip="${clip}"]`);
}

function ring(clip) {
  for (const map of document.querySelectorAll(".map")) {
    const point = clip && map.querySelector(`[data-clip="${clip}"]`);
    map.querySelector(".ring").setAttribute("cx", point ? point.getAttribute("cx") : -100);
    map.querySelector(".ring").setAttribute("cy", point ? point.getAttribute("cy") : -100);
  }
}

function stop() {
  player.pause();
  for (const element of elementsOf(playing)) {
    element.classList.remove("playing");
    element.style.setProperty("--progress", 0);
  }
  playing = "";
  ring("");
}

function play(clip) {
  const again = clip === playing;
  stop();
  if (again) return;
  playing = clip;
  player.src = sounds[clip];
  for (const element of elementsOf(clip)) element.classList.add("playing");
  ring(clip);
  player.play().then(() => requestAnimationFrame(showProgress), () => {});
}

function showProgress() {
  if (!playing) return;
  for (const element of elementsOf(playing)) {
    const seconds = Number(element.dataset.seconds) || player.duration || 1;
    const share = Math.min(player.currentTime / seconds, 1);
    element.style.setProperty("--progress", share);
    if (element.classList.contains("cursor")) element.style.left = `${share * 100}%`;
  }
  requestAnimationFrame(showProgress);
}

function showTooltip(point) {
  tooltip.textContent = point.dataset.text;
  tooltip.hidden = false;
  const box = point.getBoundingClientRect();
  const widest = document.documentElement.clientWidth - tooltip.offsetWidth - 8;
  const left = box.left + box.width / 2 - tooltip.offsetWidth / 2;
  tooltip.style.left = `${Math.max(8, Math.min(left, widest)) + window.scrollX}px`;
  tooltip.style.top = `${box.top + window.scrollY - tooltip.offsetHeight - 8}px`;
  ring(point.dataset.clip);
}

function hideTooltip() {
  tooltip.hidden = true;
  ring(playing);
}

function choose(key) {
  const maps = key.closest(".linked");
  const pressed = key.getAttribute("aria-pressed") !== "true";
  for (const other of maps.querySelectorAll(".key")) other.setAttribute("aria-pressed", "false");
  key.setAttribute("aria-pressed", String(pressed));
  maps.classList.toggle("chosen", pressed);
  for (const point of maps.querySelectorAll(".point")) {
    point.classList.toggle("bright", point.dataset.label === key.dataset.label);
  }
}

player.addEventListener("ended", stop);
for (const button of document.querySelectorAll(".play[data-clip]")) {
  button.addEventListener("click", () => play(button.dataset.clip));
}
for (const point of document.querySelectorAll(".point")) {
  point.addEventListener("click", () => play(point.dataset.clip));
  point.addEventListener("pointerenter", () => showTooltip(point));
  point.addEventListener("pointerleave", hideTooltip);
  point.addEventListener("focus", () => showTooltip(point));
  point.addEventListener("blur", hideTooltip);
  point.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    play(point.dataset.clip);
  });
}
for (const key of document.querySelectorAll(".key")) key.addEventListener("click", () => choose(key));
