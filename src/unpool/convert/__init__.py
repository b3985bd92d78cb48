"""From network to network, and the recorder that notes what each module did."""
