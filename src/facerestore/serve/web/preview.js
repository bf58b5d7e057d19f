"use strict";
// Two short films in the report page's player, in a frame of the page that asked for them.
document.querySelector(".help").textContent = "Drag the picture to move the divider between before and after.";
setUpPlayer();
tell();
