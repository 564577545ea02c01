'use strict';
const dialog = document.querySelector('dialog');
const cards = [...document.querySelectorAll('.card[data-shown]')];
const stage = dialog.querySelector('.stage');
const enlarged = stage.querySelector('img');
let place = 0;

function show(index) {
  place = (index + cards.length) % cards.length;
  const card = cards[place];
  const image = card.querySelector('img');
  const caption = card.querySelector('figcaption').cloneNode(true);
  dialog.querySelector('.bar .name').textContent = caption.querySelector('.name').textContent;
  dialog.querySelector('.count').textContent = `${place + 1} / ${cards.length}`;
  caption.querySelector('.name').remove();
  dialog.querySelector('.caption').replaceChildren(...caption.childNodes);
  stage.classList.remove('full');
  enlarged.src = image.dataset.large;
  enlarged.alt = image.alt;
  if (!dialog.open) dialog.showModal();
}

cards.forEach((card, index) => {
  card.querySelector('button').addEventListener('click', () => show(index));
});
dialog.querySelector('.previous').addEventListener('click', () => show(place - 1));
dialog.querySelector('.next').addEventListener('click', () => show(place + 1));
dialog.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft') show(place - 1);
  if (event.key === 'ArrowRight') show(place + 1);
});
dialog.addEventListener('close', () => cards[place].querySelector('button').focus());
stage.addEventListener('click', () => stage.classList.toggle('full'));
let start = null;
stage.addEventListener('touchstart', (event) => {
  start = event.touches.length === 1 ? event.touches[0].clientX : null;
}, { passive: true });
stage.addEventListener('touchend', (event) => {
  const moved = start === null ? 0 : event.changedTouches[0].clientX - start;
  if (Math.abs(moved) > 60 && !stage.classList.contains('full')) show(place - Math.sign(moved));
});
