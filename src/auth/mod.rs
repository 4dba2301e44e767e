//! Who may publish and who may play: Adobe/FMLE logins, the mirrors' shared secret, listed networks.
