// Four charts of the last minute. With several server processes, each sends its own
// figures, and the charts show their sum.
import { createConsumer } from "@rails/actioncable"
import uPlot from "uplot"

const WINDOW_S = 60
const HEIGHT = 200
const SCALE = { memory: 1 / 2 ** 20 }
const DIGITS = { sockets: 0 }

// A canvas knows no CSS variables and no light-dark(): it is given the computed colours,
// anew at each drawing, since people change from light to dark.
const colour = (element) => getComputedStyle(element).color
const faint = (element) => colour(element).replace(")", ", 0.12)")

const latest = new Map() // process -> its newest sample
const times = [] // Unix seconds, by the server's clock
const charts = [...document.querySelectorAll("[data-figure]")].map((section) => {
  const figure = section.dataset.figure
  const place = section.querySelector(".chart")
  const output = section.querySelector("output")
  const axis = {
    stroke: () => colour(section),
    grid: { stroke: () => faint(section), width: 1 },
    ticks: { show: false },
  }
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: [-WINDOW_S, 0] },
      y: { range: (_, low, high) => [0, Math.max(high * 1.2, 1)] },
    },
    axes: [
      { ...axis, size: 28, values: (_, seconds) => seconds.map((s) => (s ? `${s} s` : "now")) },
      { ...axis, size: 56 },
    ],
    series: [
      {},
      {
        stroke: () => colour(output),
        fill: () => faint(output),
        width: 2,
        points: { show: false },
      },
    ],
  }
  const values = []
  const plot = new uPlot(options, [[], values], place)
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place)
  return { figure, values, plot, output }
})

function draw() {
  const now = Math.max(...[...latest.values()].map((sample) => sample.time))
  for (const [process, sample] of latest) if (now - sample.time > 2) latest.delete(process)
  times.push(now)
  for (const { figure, values, output } of charts) {
    let sum = 0
    for (const sample of latest.values()) sum += sample[figure] * (SCALE[figure] ?? 1)
    values.push(sum)
    output.textContent = sum.toFixed(DIGITS[figure] ?? 1)
  }
  while (times[0] < now - WINDOW_S) {
    times.shift()
    for (const { values } of charts) values.shift()
  }
  const ago = times.map((time) => time - now)
  for (const { values, plot } of charts) plot.setData([ago, values])
}

const state = document.getElementById("state")

function show(connected) {
  state.textContent = connected ? "connected" : "reconnecting"
  state.classList.toggle("connected", connected)
}

const dashboard = createConsumer("/cable").subscriptions.create("DashboardChannel", {
  connected() {
    show(true)
    if (document.hidden) this.perform("pause")
  },
  disconnected: () => show(false),
  received(samples) {
    for (const [process, sample] of Object.entries(samples)) latest.set(process, sample)
    draw()
  },
})

// What nobody looks at need not be sent.
document.addEventListener("visibilitychange", () => dashboard.perform(document.hidden ? "pause" : "resume"))
