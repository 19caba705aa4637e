// Light or dark as it was chosen here before, set before anything is painted.
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
