// Comfort only: without it every player still plays. One sound at a time, a playhead on the picture, a click on it seeks,
// and a sound that is started while another one of its item plays goes on at the same place, for comparison by ear.
const setUpPlayers = (() => {
  let playing = null;
  const setUp = (sound) => {
    const audio = sound.querySelector("audio");
    const picture = sound.querySelector(".picture");
    const head = document.createElement("span");
    head.className = "playhead";
    picture.append(head);
    picture.classList.add("seekable");
    const move = () => {
      head.style.left = `${(100 * audio.currentTime) / (audio.duration || 1)}%`;
      if (!audio.paused) requestAnimationFrame(move);
    };
    audio.addEventListener("play", () => {
      if (playing && playing !== audio && !playing.paused) {
        if (playing.closest(".item") === audio.closest(".item")) audio.currentTime = playing.currentTime;
        playing.pause();
      }
      playing = audio;
      move();
    });
    audio.addEventListener("timeupdate", move);
    audio.addEventListener("ended", () => { audio.currentTime = 0; });
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      audio.currentTime = (audio.duration * (event.clientX - box.left)) / box.width;
      if (audio.paused) audio.play();
    });
  };
  return () => {
    for (const sound of document.querySelectorAll(".sound")) {
      if (sound.querySelector("audio") && !sound.querySelector(".playhead")) setUp(sound);
    }
  };
})();
setUpPlayers();
